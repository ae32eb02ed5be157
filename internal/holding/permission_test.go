package holding_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"

	"go.uber.org/zap"
)

// turns is a guard behind the lock that returns at once with these errors, one for each
// call. A nil error stands for a permission that lasts for a minute, and then for good.
type turns struct {
	*host
	errs *[]error
}

func (g turns) While(ctx context.Context, _ string, act guard.Act) error {
	if len(*g.errs) == 0 {
		return act(ctx, guard.NewPermit(ctx))
	}
	err := (*g.errs)[0]
	*g.errs = (*g.errs)[1:]
	if err != nil {
		return err
	}
	permitted, cancel := context.WithTimeoutCause(ctx, time.Minute, errLost)
	defer cancel()
	return act(permitted, guard.NewPermit(permitted))
}

func TestAGuardThatReturnsWhileTheInstanceIsMasterIsToldAndAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		paused := errors.New("cannot read the file of the pause")
		h.Guard = turns{h, &[]error{paused, paused, paused, nil}}
		end := h.hold(t, nil)
		time.Sleep(15 * time.Second)
		blocked := "VI_1 is blocked: " + paused.Error()
		want(t, h.tell(), "lock", blocked, blocked, blocked, "VI_1 is blocked: ", "claim VI_1 192.0.2.1/24")
		time.Sleep(time.Minute)
		want(t, h.tell(), "let go VI_1 192.0.2.1/24", "VI_1 is blocked: "+errLost.Error(), "VI_1 is blocked: ", "claim VI_1 192.0.2.1/24")
		said := h.logs.FilterMessage("cannot get the permission to act for the instance; trying again").FilterField(zap.String("instance", "VI_1")).All()
		if len(said) != 2 || said[0].ContextMap()["error"] != paused.Error() || said[1].ContextMap()["error"] != errLost.Error() {
			t.Errorf("told %v, want each failure once", said)
		}
		if err := end(errDemoted); err != errDemoted {
			t.Errorf("got %v, want the cause", err)
		}
		want(t, h.tell(), "let go VI_1 192.0.2.1/24", "unlock")
	})
}

func TestAHoldingThatIsEndedWhileAGuardIsToBeAskedAgainGivesUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(ip(1))
		h.Guard = turns{h, &[]error{errors.New("refused")}}
		end := h.hold(t, nil)
		want(t, h.tell(), "lock", "VI_1 is blocked: refused")
		begun := time.Now()
		if err := end(errDemoted); err != errDemoted || time.Since(begun) != 0 {
			t.Errorf("got %v after %v, want the cause at once", err, time.Since(begun))
		}
		want(t, h.tell(), "unlock")
	})
}

package faults_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"berth/test/faults"
)

// Faults of all kinds, one or two at a time, are healed after a time that is too
// short for their effect, or long enough. The lab always comes back to one owner and
// service, and never has two owners on the way.
func TestRandomFaultsAndHeals(t *testing.T) {
	t.Parallel()
	random(t, faults.Options{Health: true}, 40*time.Second)
}

// The same with a pool. At the end of each round it is spread evenly.
func TestRandomFaultsAndHealsOfPool(t *testing.T) {
	t.Parallel()
	random(t, faults.Options{Pool: faults.PoolSize, Health: true}, 20*time.Second)
}

func random(t *testing.T, o faults.Options, last time.Duration) {
	number := *seed
	if number == 0 {
		number = uint64(time.Now().UnixNano())
	}
	switch {
	case *length != 0:
		last = *length
	case os.Getenv("BERTH_SOAK") == "1":
		last = 30 * time.Minute
	}
	fmt.Printf("the random run again: go test ./test/faults -run '^%s$' -seed %d -length %v\n", t.Name(), number, last)
	dice := rand.New(rand.NewPCG(number, 0))
	l := newElection(t, o)
	if err := l.Settle(t.Context()); err != nil {
		tell(t, l, nil)
		t.Fatal(err)
	}
	rounds := 0
	for begin := time.Now(); time.Since(begin) < last && !t.Failed(); {
		rounds++
		// The effects of the end of the last round are judged as well.
		since := time.Now().Add(-time.Second)
		if since.Before(begin) {
			since = begin
		}
		err := episode(t, l, o, dice)
		h := l.History(since)
		h.Open = true // an owner that was cut off may only now hear what was done to its key
		_, problems := faults.Judge(h)
		if err != nil {
			problems = append(problems, err.Error())
		}
		for _, p := range problems {
			t.Errorf("round %d: %s", rounds, p)
		}
		if t.Failed() {
			tell(t, l, h)
		}
	}
	fmt.Printf("%d rounds of random faults and heals in %s\n", rounds, t.Name())
}

// episode is a fault or two, and the end of them.
func episode(t *testing.T, l *faults.Lab, o faults.Options, dice *rand.Rand) error {
	pick := func(etcd bool) faults.Fault {
		kind := slices.DeleteFunc(faults.All(), func(f faults.Fault) bool {
			return f.Etcd != etcd || f.Alone || f.Applies(o) != nil
		})
		return kind[dice.IntN(len(kind))]
	}
	var chosen []faults.Fault
	switch dice.IntN(3) {
	case 0:
		chosen = []faults.Fault{pick(false)}
	case 1:
		chosen = []faults.Fault{pick(true)}
	default:
		chosen = []faults.Fault{pick(false), pick(true)}
	}
	// The owner of this moment may be about to hear that its key is gone.
	victim := l.Victim()
	for victim == nil {
		if err := l.Settle(t.Context()); err != nil {
			return err
		}
		victim = l.Victim()
	}
	if !chosen[0].Owner && dice.IntN(3) == 0 {
		victim = l.Hosts[dice.IntN(len(l.Hosts))]
	}
	r, err := faults.NewRun(t.Context(), l, victim)
	if err != nil {
		return err
	}
	var allowed faults.Limits
	name := ""
	for _, f := range chosen {
		allowed.TwoOwners = max(allowed.TwoOwners, f.Limits.TwoOwners)
		allowed.Reunited = max(allowed.Reunited, f.Limits.Reunited)
		name += " " + f.Name
		if err := r.Begin(f); err != nil {
			return err
		}
	}
	if err := r.Pass(time.Duration(dice.Int64N(int64(faults.Lease + 3*time.Second)))); err != nil {
		return err
	}
	if err := r.Heal("of"+name, allowed); err != nil {
		return err
	}
	if err := l.Settle(t.Context()); err != nil {
		return fmt.Errorf("after%s: %w", name, err)
	}
	return r.Pass(time.Duration(dice.Int64N(int64(time.Second))))
}

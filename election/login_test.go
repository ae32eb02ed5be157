package election_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/internal/journal"
)

const (
	user     = "berth"
	password = "secret"
)

// newGuardedStage is a stage whose etcd asks for a password.
func newGuardedStage(t *testing.T, members int) (*stage, election.Options) {
	t.Helper()
	t.Parallel()
	s := &stage{T: t, cluster: start(t, members, etcdtest.Options{User: user, Password: password}), events: make(chan event, 100)}
	return s, election.Options{Endpoints: s.cluster.Endpoints(), Username: user, Password: password}
}

// root returns a client that may do everything.
func (s *stage) root() *clientv3.Client {
	s.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.cluster.Endpoints(), Username: "root", Password: password})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c
}

// calls returns how often the first member was asked for a method.
func (s *stage) calls(service, method string) int {
	s.Helper()
	name := fmt.Sprintf(`grpc_server_started_total{grpc_method=%q,grpc_service="etcdserverpb.%s",grpc_type="unary"}`, method, service)
	n, _ := strconv.Atoi(s.cluster.Member(0).Metric(s.Context(), name))
	return n
}

// quiet fails if anything happens within d.
func (s *stage) quiet(d time.Duration) {
	s.Helper()
	select {
	case e := <-s.events:
		s.Fatalf("want nothing to happen, got that %s %s (%v)", e.player, e.what, e.why)
	case <-time.After(d):
	}
}

func TestEndpointsThatDoNotAuthenticateDelayNoEnd(t *testing.T) {
	s, o := newGuardedStage(t, 3)
	for _, i := range []int{1, 2} {
		s.cluster.Member(i).Hang()
	}
	s.playWith(o, "a", 0, nil)
	s.next("a", "holds")
	s.cluster.Member(0).Hang()
	cut := time.Now()
	ended := s.next("a", "ends")
	if latest := cut.Add(ttl - 400*time.Millisecond); ended.at.After(latest) {
		t.Errorf("want the end before %v, it came %v later", latest, ended.at.Sub(latest))
	}
}

func TestARenewalDoesNotAuthenticateAgain(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	s.playWith(o, "a", 0, nil)
	s.next("a", "holds")
	before := s.calls("Auth", "Authenticate")
	s.quiet(5 * time.Second)
	if n := s.calls("Auth", "Authenticate") - before; n > 1 {
		t.Errorf("want no passwords compared for renewals, got %d in 5 s", n)
	}
}

func TestATokenThatEtcdForgotIsReplaced(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	able, depending := ability(true)
	s.playWith(o, "a", 0, depending)
	held := s.next("a", "holds")
	// A start of a member does not end a token: the member reads in its log that it
	// was given out.
	root := s.root()
	if _, err := root.AuthDisable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := root.AuthEnable(t.Context()); err != nil {
		t.Fatal(err)
	}
	able.Set(false, noCarrier)
	s.next("a", "ends")
	s.next("a", "gone")
	able.Set(true, noCarrier)
	if again := s.next("a", "holds"); again.Token <= held.Token {
		t.Errorf("want a token after %d, got %d", held.Token, again.Token)
	}
}

func TestARefusalIsToldAlsoAfterASilence(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	s.cluster.Member(0).Hang()
	o.Password = "guess"
	said := make(chan string, 1000)
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "message"}), lines(said), zap.WarnLevel))
	s.playWith(o, "a", 0, func(m *election.Member, _ *election.Campaign) { m.Journal = journal.New(log) })
	for _, want := range []string{`"code":"lease-unobtained"`, "authentication failed"} {
		for found := false; !found; {
			select {
			case line := <-said:
				found = strings.Contains(line, "cannot get a lease from etcd yet") && strings.Contains(line, want)
			case <-time.After(limit):
				t.Fatalf("want a line with %q", want)
			}
		}
		if err := s.cluster.Member(0).Heal(); err != nil {
			t.Fatal(err)
		}
	}
}

// lines is a place for what is logged.
type lines chan string

func (l lines) Write(text []byte) (int, error) {
	l <- string(text)
	return len(text), nil
}

func (lines) Sync() error { return nil }

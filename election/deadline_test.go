package election_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
)

// An operator who reads that etcd does not answer wants to know which endpoint, and why.
func TestASilentEtcdIsToldWithTheReasonOfEachEndpoint(t *testing.T) {
	t.Parallel()
	c := start(t, 1, etcdtest.Options{})
	c.Member(0).Hang()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + closed.Addr().String()
	closed.Close()
	hung := c.Endpoints()[0]
	etcd, err := election.NewEtcd(election.Options{Endpoints: []string{refusing, hung}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("gave up"))
	defer cancel()
	_, err = etcd.Owners(ctx, prefix, nil)
	if err == nil {
		t.Fatal("want an error, got an answer")
	}
	for _, want := range []string{"gave up: " + refusing + ": dial tcp", "connection refused; " + hung + ": no answer"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in the error, got %v", want, err)
		}
	}
}

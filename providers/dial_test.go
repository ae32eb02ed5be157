package providers_test

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"berth/providers"
)

func TestUnacknowledgedDataEndsAConnectionAfterTwoSeconds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := providers.NewTransport(nil, true, nil).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var optErr error
	if err := raw.Control(func(fd uintptr) { got, optErr = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
	if got != 2000 {
		t.Errorf("TCP_USER_TIMEOUT: want 2000 ms, got %d", got)
	}
}

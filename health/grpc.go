package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// GRPC is a server that speaks grpc.health.v1
// (https://github.com/grpc/grpc/blob/master/doc/health-checking.md), without TLS. All is
// well if it answers SERVING.
type GRPC struct {
	Address string // host and port, or unix: and the path of a socket
	Service string // empty: the server as a whole
}

// Check is a Check.
func (g GRPC) Check(ctx context.Context) error {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent(userAgent),
		// With a dialer of its own, gRPC takes no proxy from the environment.
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return connect(ctx, g.Address) }),
	}
	if strings.HasPrefix(g.Address, "unix:") {
		options = append(options, grpc.WithAuthority("localhost")) // a path cannot be an authority
	}
	conn, err := grpc.NewClient("passthrough:///"+g.Address, options...)
	if err != nil {
		return reasonOf(ctx, err)
	}
	defer conn.Close()
	res, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: g.Service})
	if err != nil {
		s := status.Convert(err)
		return reasonOf(ctx, fmt.Errorf("%s: %s", s.Code(), s.Message()))
	}
	if is := res.GetStatus(); is != grpc_health_v1.HealthCheckResponse_SERVING {
		return errors.New(is.String())
	}
	return nil
}

// Usable returns nil: a connection needs no file.
func (g GRPC) Usable() error { return nil }

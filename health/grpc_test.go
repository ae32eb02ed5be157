package health_test

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/health"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// hanging is a server that never answers.
type hanging struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (hanging) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// local is a server that serves requests to localhost.
type local struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (local) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if md, _ := metadata.FromIncomingContext(ctx); !slices.Equal(md.Get(":authority"), []string{"localhost"}) {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// grpcAt starts a server and returns its address.
func grpcAt(t *testing.T, network, address string, h grpc_health_v1.HealthServer) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	if h != nil {
		grpc_health_v1.RegisterHealthServer(s, h)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { s.Stop(); <-done })
	if network == "unix" {
		return "unix:" + address
	}
	return l.Addr().String()
}

func TestGRPC(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	h := grpchealth.NewServer()
	h.SetServingStatus("api.V1", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("api.V2", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus("api.V3", grpc_health_v1.HealthCheckResponse_UNKNOWN)
	at := grpcAt(t, "tcp", "127.0.0.1:0", h)
	for _, tt := range []struct {
		name  string
		check health.GRPC
		want  string
	}{
		{"server", health.GRPC{Address: at}, ""},
		{"service", health.GRPC{Address: at, Service: "api.V1"}, ""},
		{"IPv6", health.GRPC{Address: grpcAt(t, "tcp", "[::1]:0", h)}, ""},
		{"socket", health.GRPC{Address: grpcAt(t, "unix", filepath.Join(t.TempDir(), "s"), h)}, ""},
		{"authority of a socket", health.GRPC{Address: grpcAt(t, "unix", filepath.Join(t.TempDir(), "s"), local{})}, ""},
		{"does not serve", health.GRPC{Address: at, Service: "api.V2"}, "NOT_SERVING"},
		{"does not know", health.GRPC{Address: at, Service: "api.V3"}, "UNKNOWN"},
		{"no such service", health.GRPC{Address: at, Service: "api.V4"}, "NotFound: unknown service"},
		{"no health protocol", health.GRPC{Address: grpcAt(t, "tcp", "127.0.0.1:0", nil)}, "Unimplemented: unknown service grpc.health.v1.Health"},
		{"refuses", health.GRPC{Address: "127.0.0.1:1"}, "connect: connection refused"},
		{"hangs", health.GRPC{Address: grpcAt(t, "tcp", "127.0.0.1:0", hanging{})}, "timed out after 500ms"},
		{"speaks nothing", health.GRPC{Address: serves(t, "tcp", "127.0.0.1:0", true)}, "timed out after 500ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := within(t, tt.check.Check, timeFor(tt.want))
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got the reason %q, want %q", got, tt.want)
			}
		})
	}
}

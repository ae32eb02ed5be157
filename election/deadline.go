package election

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNoAnswer says that no endpoint answers.
var ErrNoAnswer = errors.New("etcd does not answer")

// deadlineError says why a request got no answer before its context ended. grpc tells
// the reason, in words only, and the client library replaces them by the bare error of
// the context.
type deadlineError struct {
	reason string // "dial tcp 192.0.2.1:2379: connect: connection refused"
	ended  error  // of the context
}

// Error returns the reason.
func (d *deadlineError) Error() string { return d.reason }

// Unwrap returns the error of the context that ended.
func (d *deadlineError) Unwrap() error { return d.ended }

// noAnswer says that nothing is known but that the context ended first.
func noAnswer(ctx context.Context) *deadlineError { return &deadlineError{"no answer", ctx.Err()} }

// withReason returns the reason in an error with which grpc ended a request because
// its context had ended, and any other error as it is.
func withReason(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.DeadlineExceeded && s.Code() != codes.Canceled || ctx.Err() == nil {
		return err
	}
	d := noAnswer(ctx)
	if _, quoted, found := strings.Cut(s.Message(), "connection error: desc = "); found {
		if reason, err := strconv.Unquote(quoted); err == nil {
			d.reason = strings.TrimPrefix(strings.TrimPrefix(reason, "transport: "), "Error while dialing: ")
		}
	}
	return d
}

// reasons are options with which requests, and the opening of streams, say why they got
// no answer.
func reasons() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return withReason(ctx, invoke(ctx, method, req, reply, c, opts...))
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, c, method, opts...)
			return s, withReason(ctx, err)
		}),
	}
}

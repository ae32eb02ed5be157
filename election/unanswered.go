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

// unanswered says why a request got no answer before its context ended. grpc tells,
// in words only, and the client library puts the bare end of the context in the
// place of what it says.
type unanswered struct {
	reason string // "dial tcp 192.0.2.1:2379: connect: connection refused"
	ended  error  // the context's
}

// Error returns the reason.
func (u *unanswered) Error() string { return u.reason }

// Unwrap returns the error of the context that ended.
func (u *unanswered) Unwrap() error { return u.ended }

// noAnswer says that nothing is known but that the context ended first.
func noAnswer(ctx context.Context) *unanswered { return &unanswered{"no answer", ctx.Err()} }

// reasonOf returns the reason in an error with which grpc ended a request because
// its context had ended, and any other error as it is.
func reasonOf(ctx context.Context, err error) error {
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.DeadlineExceeded && s.Code() != codes.Canceled || ctx.Err() == nil {
		return err
	}
	u := noAnswer(ctx)
	if _, quoted, found := strings.Cut(s.Message(), "connection error: desc = "); found {
		if reason, err := strconv.Unquote(quoted); err == nil {
			u.reason = strings.TrimPrefix(strings.TrimPrefix(reason, "transport: "), "Error while dialing: ")
		}
	}
	return u
}

// reasons has requests, and the opening of streams, say why they got no answer.
func reasons() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return reasonOf(ctx, invoke(ctx, method, req, reply, c, opts...))
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, desc, c, method, opts...)
			return s, reasonOf(ctx, err)
		}),
	}
}

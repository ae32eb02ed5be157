package election

import (
	"context"
	"errors"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// linearizable reports whether the answer to a request has all that was committed
// before the request was sent. A transaction counts because those of this package
// write, or read with a plain range.
func linearizable(request any) bool {
	switch r := request.(type) {
	case *pb.RangeRequest:
		return !r.Serializable
	case *pb.PutRequest, *pb.DeleteRangeRequest, *pb.TxnRequest:
		return true
	}
	return false
}

// options have every answer of a connection compared with the history.
func (h *history) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(h.unary), grpc.WithChainStreamInterceptor(h.stream)}
}

func (h *history) unary(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	sent := h.now()
	if err := invoke(ctx, method, req, reply, c, opts...); err != nil {
		return err
	}
	return h.answered(sent, reply, linearizable(req))
}

func (h *history) answered(sent moment, reply any, linearizable bool) error {
	a, ok := reply.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok {
		return nil
	}
	return h.compare(sent, a.GetHeader().GetClusterId(), a.GetHeader().GetRevision(), linearizable)
}

// errInterrupted ends a watch whose connection has ended.
var errInterrupted = errors.New("the connection of the watch has ended")

// onceKey is the key of an *atomic.Bool in the context of a watch.
type onceKey struct{}

// once returns a context for a watch that ends with its connection. The client
// library would resume it on the next, at a revision of a history that may be gone:
// etcd says nothing until another history has come to that revision, and never tells
// what was before it there.
func once(ctx context.Context) context.Context {
	return context.WithValue(ctx, onceKey{}, new(atomic.Bool))
}

func (h *history) stream(ctx context.Context, desc *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if opened, ok := ctx.Value(onceKey{}).(*atomic.Bool); ok && opened.Swap(true) {
		return nil, errInterrupted
	}
	s, err := open(ctx, desc, c, method, opts...)
	return &comparedStream{s, h}, err
}

// comparedStream has each message of a stream compared with the history:
// acknowledgements of leases, and the events of a watch.
type comparedStream struct {
	grpc.ClientStream
	history *history
}

// RecvMsg compares a message with what was seen when the message before it had come.
func (s *comparedStream) RecvMsg(m any) error {
	sent := s.history.now()
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	return s.history.answered(sent, m, false)
}

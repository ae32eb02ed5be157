package election

import (
	"context"
	"errors"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// login authenticates at one endpoint: before the first request, and when the endpoint
// does not know the token any more. The client library would do so at the opening of
// each stream, which is at each renewal, and to compare a password costs etcd
// about a tenth of a second of a processor. It would also make every request on
// the connection wait until the first has authenticated, whatever the context of the
// request says.
type login struct {
	user, password string
	turn           chan struct{} // one slot, taken to authenticate

	mu    sync.Mutex
	in    bool
	token string // empty also where etcd does not ask for authentication
}

func newLogin(user, password string) *login {
	return &login{user: user, password: password, turn: make(chan struct{}, 1)}
}

func (l *login) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithPerRPCCredentials(l), grpc.WithChainUnaryInterceptor(l.unary), grpc.WithChainStreamInterceptor(l.stream)}
}

// GetRequestMetadata adds the token to a request.
func (l *login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if token, _ := l.state(); token != "" {
		return map[string]string{rpctypes.TokenFieldNameGRPC: token}, nil
	}
	return nil, nil
}

// RequireTransportSecurity is false, as in the client library: a configuration with a
// password for an http:// endpoint wants it sent.
func (l *login) RequireTransportSecurity() bool { return false }

func (l *login) state() (token string, in bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.in
}

// signIn returns a token, which is the former one unless etcd has forgotten that.
func (l *login) signIn(ctx context.Context, c *grpc.ClientConn) (string, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return "", noAnswer(ctx)
	}
	if token, in := l.state(); in {
		return token, nil
	}
	r, err := pb.NewAuthClient(c).Authenticate(ctx, &pb.AuthenticateRequest{Name: l.user, Password: l.password}, grpc.WaitForReady(true))
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled) {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in, l.token = true, r.GetToken()
	return l.token, nil
}

// rejected takes what came of a request and reports whether etcd rejected its token.
// Then etcd has not executed the request.
func (l *login) rejected(token string, err error) (forgotten bool) {
	switch err = rpctypes.Error(err); {
	case errors.Is(err, rpctypes.ErrInvalidAuthToken), errors.Is(err, rpctypes.ErrAuthOldRevision), errors.Is(err, rpctypes.ErrUserEmpty):
	default:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// The token must not be sent any more: etcd refuses even an authentication that
	// comes with a token it does not know.
	if l.token == token {
		l.in, l.token = false, ""
	}
	return true
}

func (l *login) unary(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == pb.Auth_Authenticate_FullMethodName {
		return invoke(ctx, method, req, reply, c, opts...)
	}
	for again := true; ; again = false {
		token, err := l.signIn(ctx, c)
		if err != nil {
			return err
		}
		err = invoke(ctx, method, req, reply, c, opts...)
		if !l.rejected(token, err) || !again {
			return err
		}
	}
}

func (l *login) stream(ctx context.Context, desc *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	token, err := l.signIn(ctx, c)
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, desc, c, method, opts...)
	return &signedStream{s, l, token}, err
}

// signedStream is a stream that was opened with a token.
type signedStream struct {
	grpc.ClientStream
	login *login
	token string
}

// RecvMsg notes that etcd rejected the token. It cannot open the stream again.
func (s *signedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.login.rejected(s.token, err)
	return err
}

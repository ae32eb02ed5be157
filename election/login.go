package election

import (
	"context"
	"errors"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// login signs in at one endpoint: when it is first spoken to, and when it does
// not know the token any more. The client library would do so at the opening of
// each stream, which is at each renewal, and to compare a password costs etcd
// about a tenth of a second of a processor. It would also make everybody who
// wants the connection wait until the first has signed in, whatever their
// context says.
type login struct {
	user, password string
	turn           chan struct{} // one slot, taken to sign in

	mu    sync.Mutex
	in    bool
	token string // empty also where etcd asks for none
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

// RequireTransportSecurity is false, as in the client library: who gives a
// password for an http:// endpoint wants it sent.
func (l *login) RequireTransportSecurity() bool { return false }

func (l *login) state() (token string, in bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.in
}

// signIn returns a token, which is the former one unless that was forgotten.
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

// heard takes what came of a request and reports whether its token was no good.
// Then etcd has not looked at the request.
func (l *login) heard(token string, err error) (forgotten bool) {
	switch err = rpctypes.Error(err); {
	case errors.Is(err, rpctypes.ErrInvalidAuthToken), errors.Is(err, rpctypes.ErrAuthOldRevision), errors.Is(err, rpctypes.ErrUserEmpty):
	default:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Nothing may go out with it any more: etcd refuses even a signing in that
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
		if !l.heard(token, err) || !again {
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

// RecvMsg notes that the token is no good. It cannot be tried again from here.
func (s *signedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.login.heard(s.token, err)
	return err
}

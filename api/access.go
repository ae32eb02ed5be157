package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"time"
)

// login has the hashes of the one user and password. The hashes have one length, so that
// the time of a comparison tells nothing of the texts.
type login struct {
	required       bool
	user, password [sha256.Size]byte
}

func newLogin(username, password string) login {
	return login{required: username != "", user: sha256.Sum256([]byte(username)), password: sha256.Sum256([]byte(password))}
}

// admits reports whether a request has the credentials, and whether it has any. Both are
// compared, whatever the first comparison says.
func (l login) admits(r *http.Request) (admitted, tried bool) {
	username, password, tried := r.BasicAuth()
	user, pass := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	same := subtle.ConstantTimeCompare(user[:], l.user[:]) & subtle.ConstantTimeCompare(pass[:], l.password[:])
	return !l.required || tried && same == 1, tried
}

// public are the paths that need no credentials: for what restarts a process or sends it
// requests.
var public = map[string]bool{"/healthz": true, "/readyz": true}

// admit returns an error if a request is not to be answered.
func (s *site) admit(w http.ResponseWriter, r *http.Request) error {
	if !s.hosts.own(r.Host) {
		s.meters.denied.Add(1, deniedHost)
		return refuse(http.StatusForbidden, "the name in the URL is not known as one of this server; write it into api.server-names, or write the address of the server instead")
	}
	if !sameOrigin(r) {
		s.meters.denied.Add(1, deniedOrigin)
		return refuse(http.StatusForbidden, "a page of another site may not use this server; a program sends no Origin")
	}
	admitted, tried := s.login.admits(r)
	if admitted {
		return nil
	}
	if public[plainPath(r.URL)] {
		w.Header().Set("Connection", "close") // a client without credentials sends one request
		return nil
	}
	s.meters.denied.Add(1, deniedLogin)
	if tried {
		select {
		case s.failing <- clientOf(r):
		default: // one is told already
		}
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="berth", charset="UTF-8"`)
	return refuse(http.StatusUnauthorized, "user and password are wrong or missing; berth ips and berth pool take --username and --password-file")
}

// clientOf returns the address of a client.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// loginsQuiet is how long no login must have failed before that is over: a client with a
// wrong password asks again and again, some only every few minutes.
const loginsQuiet = 10 * time.Minute

// watchLogins tells once that logins fail, and when none has failed for some time.
func (s *site) watchLogins(ctx context.Context) error {
	quiet := time.NewTimer(loginsQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case client := <-s.failing:
			s.conditions.logins.Fail(refused, fmt.Errorf("login from %s", client))
			quiet.Reset(loginsQuiet)
		case <-quiet.C:
			s.conditions.logins.Clear()
		}
	}
}

const (
	// certificateInterval is how often the files of the certificate are read again where no
	// client has that done.
	certificateInterval = time.Minute
	// certificateAgain is how often that is while the files cannot be used: one may have
	// been replaced before the other.
	certificateAgain = 2 * time.Second
)

// watchCertificate tells while the files of the certificate cannot be used.
func (s *site) watchCertificate(ctx context.Context) error {
	if s.pair == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	for {
		wait := certificateInterval
		if err := s.pair.Read(); err != nil {
			s.conditions.certificate.Fail(stale, err)
			wait = certificateAgain
		} else {
			s.conditions.certificate.Clear()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/api"
)

func basic(text string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

func TestCredentials(t *testing.T) {
	w := newWorld()
	o, r, _ := w.options(t)
	o.Username, o.Password = "admin", "5up3r:S3cret"
	h := api.New(o).Handler()
	for _, row := range []struct {
		name, path string
		header     []string
		status     int
	}{
		{"right", "/ips", []string{basic("admin:5up3r:S3cret")}, 200},
		{"none", "/ips", nil, 401},
		{"wrong password", "/ips", []string{basic("admin:x")}, 401},
		{"wrong user", "/ips", []string{basic("root:5up3r:S3cret")}, 401},
		{"beginning of the password", "/ips", []string{basic("admin:5up3r")}, 401},
		{"empty", "/ips", []string{basic(":")}, 401},
		{"no base64", "/ips", []string{"Authorization: Basic %%%"}, 401},
		{"another scheme", "/ips", []string{"Authorization: Bearer 5up3r:S3cret"}, 401},
		{"a route that is not there", "/nothing", nil, 401},
		{"metrics", "/metrics", nil, 401},
		{"description", "/openapi.json", nil, 401},
		{"alive", "/healthz", nil, 200},
		{"ready", "/readyz", nil, 200},
		{"ready, with slashes too many", "//readyz/", nil, 200},
		{"alive, with a wrong password", "/healthz", []string{basic("admin:x")}, 200},
		{"below a public path", "/healthz/../ips", nil, 401},
		{"a public path in another one", "/ips/..%2fhealthz", nil, 401},
	} {
		got := send(h, "GET", row.path, "", row.header...)
		if got.Code != row.status {
			t.Errorf("%s: want %d, got %d %s", row.name, row.status, got.Code, got.Body)
		}
		if got.Code == 401 && (got.Header().Get("WWW-Authenticate") != `Basic realm="berth", charset="UTF-8"` || said(t, got) == "") {
			t.Errorf("%s: got %v", row.name, got.Header())
		}
		if strings.Contains(got.Body.String(), "S3cret") {
			t.Errorf("%s: the password is shown", row.name)
		}
		if closes := got.Header().Get("Connection") == "close"; closes != (row.status == 401 || strings.Contains(row.path, "z")) {
			t.Errorf("%s: want that the connection of a client without credentials ends, got %v", row.name, closes)
		}
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), `berth_api_denied_total{reason="login"} 12`) ||
		!strings.Contains(text.String(), `berth_api_requests_total{code="401"} 12`) {
		t.Errorf("got %v %s", err, text.String())
	}
}

// A client that tries again and again is one line, without the name that it tries, and so
// is its end.
func TestFailedLoginsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, lines := w.options(t)
		o.Listen, o.Username, o.Password = "", "admin", "pw"
		s := api.New(o)
		stop := running(t, s)
		synctest.Wait()
		_ = send(s.Handler(), "GET", "/ips", "") // without credentials: as a browser begins
		for range 100 {
			send(s.Handler(), "GET", "/ips", "", basic("5up3rS3cret:x"))
			time.Sleep(time.Minute)
		}
		told := lines.FilterField(zapCode("api-login-failed")).All()
		if len(told) != 1 || told[0].ContextMap()["error"] != "login from 192.0.2.77" {
			t.Errorf("want one line with the client, got %v", told)
		}
		time.Sleep(api.LoginQuiet)
		synctest.Wait()
		told = lines.FilterField(zapCode("api-login-failed")).All()
		if len(told) != 2 || told[1].Message != "no client of the management API has failed to log in for ten minutes" {
			t.Errorf("want the end, got %v", told)
		}
		stop()
	})
}

// running runs a server until stop is called.
func running(t *testing.T, s *api.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	var all sync.WaitGroup
	var err error
	over := errors.New("test is over")
	all.Go(func() { err = s.Run(ctx) })
	return func() {
		cancel(over)
		all.Wait()
		if !errors.Is(err, over) {
			t.Errorf("want the cause of the end, got %v", err)
		}
	}
}

func TestHostAndOrigin(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(name, ".")
	w := newWorld()
	o, _, _ := w.options(t)
	o.Listen, o.Username, o.Password = "Listen.example.com:1313", "u", "p"
	o.ServerNames = []string{"LB.example.com", "vip.example.org."}
	h := api.New(o).Handler()
	for _, row := range []struct {
		name    string
		host    string
		header  []string
		allowed bool
	}{
		{"address", "192.0.2.1:1313", nil, true},
		{"address without a port", "192.0.2.1", nil, true},
		{"address of IPv6", "[2001:db8::1]:1313", nil, true},
		{"address of IPv6 without a port", "[::1]", nil, true},
		{"address of IPv6 with a zone", "[fe80::1%25eth0]:1313", nil, true},
		{"address of IPv6 without brackets", "::1", nil, false},
		{"name in brackets", "[localhost]:1313", nil, false},
		{"bracket that does not end", "[::1", nil, false},
		{"text after the bracket", "[::1]evil", nil, false},
		{"localhost", "localhost:1313", nil, true},
		{"localhost with a dot, in capitals", "LOCALHOST.:1313", nil, true},
		{"this host", name + ":1313", nil, true},
		{"this host, in short", strings.ToUpper(short), nil, true},
		{"name of api.listen", "listen.example.com", nil, true},
		{"name of api.server-names", "lb.EXAMPLE.com.:80", nil, true},
		{"another one", "vip.example.org:1313", nil, true},
		{"no Host, as HTTP/1.0", "", nil, true},
		{"foreign name (DNS rebinding)", "evil.example:1313", nil, false},
		{"foreign name that begins as one of ours", "lb.example.com.evil.example", nil, false},
		{"name below localhost", "evil.localhost", nil, false},
		{"number", "2130706433", nil, false},
		{"address in short", "127.1", nil, false},
		{"address in octal", "0177.0.0.1", nil, false},
		{"port that is no number", "localhost:evil", nil, false},
		{"two ports", "localhost:1:2", nil, false},
		{"only a dot", ".", nil, false},
		{"user before the host", "x@localhost", nil, false},

		{"same origin", "lb.example.com:1313", []string{"Origin: http://lb.example.com:1313"}, true},
		{"same origin in another form", "LB.example.com.:1313", []string{"Origin: http://lb.example.com:1313"}, true},
		{"same origin at the usual port", "lb.example.com", []string{"Origin: http://lb.example.com"}, true},
		{"same origin, with the usual port in one", "lb.example.com:80", []string{"Origin: http://lb.example.com"}, true},
		{"same origin behind a proxy that has TLS", "lb.example.com", []string{"Origin: https://lb.example.com"}, true},
		{"same origin of IPv6", "[2001:db8::1]:1313", []string{"Origin: http://[2001:db8::1]:1313"}, true},
		{"foreign origin", "127.0.0.1:1313", []string{"Origin: http://evil.example"}, false},
		{"foreign origin that begins as ours", "lb.example.com", []string{"Origin: http://lb.example.com.evil.example"}, false},
		{"another port of this host", "localhost:1313", []string{"Origin: http://localhost:8080"}, false},
		{"another of our names", "lb.example.com:1313", []string{"Origin: http://localhost:1313"}, false},
		{"null, as a sandbox sends", "127.0.0.1:1313", []string{"Origin: null"}, false},
		{"file", "127.0.0.1:1313", []string{"Origin: file://"}, false},
		{"extension", "127.0.0.1:1313", []string{"Origin: chrome-extension://abc"}, false},
		{"user in the origin", "localhost:1313", []string{"Origin: http://localhost:1313@evil.example"}, false},
		{"origin with a path", "localhost:1313", []string{"Origin: http://localhost:1313/x"}, false},
		{"empty origin", "localhost:1313", []string{"Origin: "}, false},
		{"two origins", "localhost:1313", []string{"Origin: http://localhost:1313", "Origin: http://evil.example"}, false},
		{"fetch of the page", "localhost:1313", []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"}, true},
		{"URL that a person wrote", "localhost:1313", []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, true},
		{"image of another site", "localhost:1313", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"}, false},
		{"frame in another site", "localhost:1313", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, false},
		{"another port of the same site", "localhost:1313", []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"}, false},
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			got := send(h, method, "/ips", "", append([]string{"Host: " + row.host, basic("u:p")}, row.header...)...)
			if (got.Code == http.StatusForbidden) == row.allowed {
				t.Errorf("%s, %s: got %d %s", row.name, method, got.Code, got.Body)
			}
		}
	}
	link := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", basic("u:p")}
	if got := send(h, "GET", "/cluster", "", link...); got.Code != 200 {
		t.Errorf("a link of another site: want 200, got %d", got.Code)
	}
	if got := send(h, "POST", "/ips/192.0.2.1/failover", "", link...); got.Code != 403 {
		t.Errorf("a form of another site: want 403, got %d", got.Code)
	}
}

// pair writes a certificate for names and its key.
func pair(t *testing.T, dir string, names ...string) (cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTLSAndItsCertificate(t *testing.T) {
	dir := t.TempDir()
	first := pair(t, dir, "lb.example.com", "*.example.net")
	w := newWorld()
	o, _, _ := w.options(t)
	o.CertFile, o.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	o.Username, o.Password = "u", "p"
	s := api.New(o)
	defer running(t, s)()
	address := <-w.listens
	get := func(root *x509.Certificate, host string, max uint16) (status int, err error) {
		roots := x509.NewCertPool()
		roots.AddCert(root)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MaxVersion: max}}}
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.SetBasicAuth("u", "p")
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 1 {
			t.Errorf("want HTTP/1, whose connections are counted, got %s", resp.Proto)
		}
		return resp.StatusCode, nil
	}
	for host, want := range map[string]int{"": 200, "LB.example.com": 200, "a.example.net:1": 200, "evil.example": 403, "example.net": 403} {
		if got, err := get(first, host, 0); got != want || err != nil {
			t.Errorf("Host %q: want %d, got %d, %v", host, want, got, err)
		}
	}
	if _, err := get(first, "", tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if resp, err := http.Get("http://" + address + "/version"); err == nil && resp.StatusCode == 200 {
		t.Error("HTTP without TLS is spoken")
	}
}

// A page that came without TLS is another origin than a server with it, also where neither
// has a port: anybody on the network can have changed that page.
func TestAPageWithoutTLSIsForeignToAServerWithIt(t *testing.T) {
	for origin, want := range map[string]bool{"http://localhost": false, "https://localhost": true} {
		r := httptest.NewRequest("GET", "https://localhost/ips", nil)
		r.Header.Set("Origin", origin)
		if got := api.SameOrigin(r); got != want {
			t.Errorf("%s: want %v, got %v", origin, want, got)
		}
	}
}

// While a configuration is replaced, the certificate and its names stay in use.
func TestACertificateOutlastsAReload(t *testing.T) {
	dir := t.TempDir()
	cert := pair(t, dir, "lb.example.com")
	w := newWorld()
	o, _, _ := w.options(t)
	o.CertFile, o.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	o.Username, o.Password = "u", "p"
	s := api.New(o)
	defer running(t, s)()
	address := <-w.listens
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "lb.example.com"}}}
	get := func() {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/version", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "lb.example.com"
		r.SetBasicAuth("u", "p")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("want 200, got %s", resp.Status)
		}
	}
	get()
	if err := os.WriteFile(o.KeyFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Version = "2"
	s.Change(o)
	get()
}

// A certificate that cannot be used is one line, and so is its end; a moment between two
// files is none.
func TestABadCertificateIsACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		pair(t, dir, "lb.example.com")
		w := newWorld()
		o, _, lines := w.options(t)
		o.Listen, o.CertFile, o.KeyFile, o.Username, o.Password = "", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), "u", "p"
		s := api.New(o)
		stop := running(t, s)
		told := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if all := lines.FilterField(zapCode("api-certificate-unusable")).All(); len(all) != want {
				t.Errorf("%s: want %d lines, got %v", when, want, all)
			}
		}
		time.Sleep(time.Minute - time.Second)
		good, err := os.ReadFile(o.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		put := func(text []byte) {
			if err := os.WriteFile(o.KeyFile, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put([]byte("5up3rS3cret"))
		time.Sleep(2 * time.Second)
		put(good)
		time.Sleep(time.Minute)
		told("a moment", 0)
		put([]byte("5up3rS3cret"))
		time.Sleep(10 * time.Minute)
		told("a broken key", 1)
		put(good)
		time.Sleep(time.Minute)
		told("the key again", 2)
		stop()
	})
}

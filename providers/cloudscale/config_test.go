package cloudscale_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"berth/providers/cloudscale"
	"berth/providers/providertest"
)

func TestEndpointInAnySpelling(t *testing.T) {
	for _, tt := range []struct{ suffix, wantPath string }{
		{"", "/v1/floating-ips"},
		{"/", "/v1/floating-ips"},
		{"/v1", "/v1/floating-ips"},
		{"/v1/", "/v1/floating-ips"},
		{"/prefix", "/prefix/v1/floating-ips"},
		{"/prefix/", "/prefix/v1/floating-ips"},
		{"/prefix/v1/", "/prefix/v1/floating-ips"},
		{"/v1x", "/v1x/v1/floating-ips"},
	} {
		t.Run("endpoint ending in "+tt.suffix, func(t *testing.T) {
			var got, agent string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, agent = r.URL.Path, r.UserAgent()
				w.Write([]byte("[]"))
			}))
			defer srv.Close()
			// The SDK reads this variable by itself.
			t.Setenv("CLOUDSCALE_API_URL", "http://192.0.2.1/")
			d, logs := providertest.Deps(t, providertest.NewSim(t, account()))
			d.Transport = nil
			d.Env = os.Getenv
			p := newClient(t, d, plain+"\nserver-uuid: "+lb1+"\nendpoint: "+srv.URL+tt.suffix)
			if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Fatal(err)
			}
			if got != tt.wantPath || !strings.HasPrefix(agent, "berth/test cloudscale/") {
				t.Errorf("want %s for berth/test, got %s for %s", tt.wantPath, got, agent)
			}
			if logs.FilterField(zap.String("variable", "CLOUDSCALE_API_URL")).Len() != 1 {
				t.Errorf("want a warning that the variable is ignored, got %v", logs.All())
			}
		})
	}
}

func TestTokenOverTheOpenNetworkIsWarnedAbout(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"http://127.0.0.1:8080": false, "http://[::1]:8080": false, "http://localhost": false, "https://api.example": false,
		"http://192.0.2.1": true, "http://api.example": true,
	} {
		d, logs := providertest.Deps(t, providertest.NewSim(t, account()))
		newClient(t, d, plain+"\nserver-uuid: "+lb1+"\nendpoint: "+endpoint)
		if got := logs.FilterMessage("token is sent in clear text").Len() == 1; got != want {
			t.Errorf("%s: want a warning %v, got %v", endpoint, want, logs.All())
		}
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no token", "server-uuid: " + lb1, "cloudscale.token: missing; write token or token-file, or set the environment variable CLOUDSCALE_API_TOKEN"},
		{"token with a line end", `token: "` + token + `\n"`, "cloudscale.token: holds a space or another character that none has"},
		{"token with a letter beyond ASCII", `token: "` + token + `é"`, "cloudscale.token: holds a space or another character that none has"},
		{"unknown key", plain + "\nserver_uuid: x", `line 2: cloudscale: unknown key "server_uuid"; did you mean server-uuid?`},
		{"no URL", plain + "\nendpoint: api.cloudscale.ch", "line 2: cloudscale.endpoint: found a text of 17 characters; write a URL such as https://api.cloudscale.ch/"},
		{"broken URL", plain + "\nendpoint: 'https://u:" + token + "@h:x/'", "line 2: cloudscale.endpoint: found a text of 47 characters; write a URL such as https://api.cloudscale.ch/"},
		{"server in the wrong form", plain + "\nserver-uuid: ../floating-ips", "line 2: cloudscale.server-uuid: found a text of 15 characters; write the UUID of a server"},
		{"UUID of another host that is not one", plain + "\nhostname-to-server-uuid:\n  lb1: " + lb1 + "\n  lb2: x", "line 4: cloudscale.hostname-to-server-uuid: found a text of 1 character; write the UUID of a server"},
		{"URL with a password", plain + "\nendpoint: https://u:" + token + "@h/", "line 2: cloudscale.endpoint: found a URL with a user, a query or a fragment; write one without, such as https://api.cloudscale.ch/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := providertest.Deps(t, providertest.NewSim(t, account()))
			_, err := cloudscale.Entry.New(d, providertest.Section(t, tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

func TestTokenComesFromTheResolver(t *testing.T) {
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	var asked []string
	d.Secret = func(name, inline, file, env string) (string, error) {
		asked = []string{name, inline, file, env}
		return token, nil
	}
	p := newClient(t, d, "token-file: /run/credentials/token")
	if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"token", "", "/run/credentials/token", "CLOUDSCALE_API_TOKEN"}, asked); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	unreadable := errors.New("file can be read by others")
	d.Secret = func(string, string, string, string) (string, error) { return "", unreadable }
	if _, err := cloudscale.Entry.New(d, providertest.Section(t, plain)); !errors.Is(err, unreadable) {
		t.Errorf("want %v, got %v", unreadable, err)
	}
}

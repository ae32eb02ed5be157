package cloudsim_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
)

const (
	exoKey    = "EXO0123456789abcdef"
	exoSecret = "exo-secret-161803398"
	eip       = "e0000000-0000-4000-8000-000000000001"
	eip6      = "e0000000-0000-4000-8000-000000000006"
)

var (
	exo4 = netip.MustParsePrefix("198.51.100.50/32")
	exo6 = netip.MustParsePrefix("2001:db8:5::/96")
)

func newExoscale(t *testing.T, change func(*cloudsim.Config), faults ...cloudsim.Fault) *cloudsim.Sim {
	t.Helper()
	c := cloudsim.Config{
		Key: exoKey, Secret: exoSecret, Seed: 1, Faults: faults,
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Region: "ch-gva-2", Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")}},
			{UUID: lb2, Name: "lb2", Region: "ch-gva-2", Pool: "pool-1"},
			{UUID: remote, Name: "remote", Region: "at-vie-1"},
		},
		ElasticIPs: []cloudsim.ElasticIP{
			{ID: eip, Network: exo4, Zone: "ch-gva-2", Servers: []string{lb2}},
			{ID: eip6, Network: exo6, Zone: "ch-gva-2", Servers: []string{lb2}, Managed: true},
		},
	}
	if change != nil {
		change(&c)
	}
	s, err := cloudsim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign signs a request as the vendor's description demands.
func sign(req *http.Request, body, key, secret string, expires time.Time) {
	names, values := []string{}, ""
	query := req.URL.Query()
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values += query.Get(name)
	}
	until := fmt.Sprint(expires.Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, strings.Join([]string{req.Method + " " + req.URL.EscapedPath(), body, values, "", until}, "\n"))
	auth := "EXO2-HMAC-SHA256 credential=" + key
	if len(names) > 0 {
		auth += ",signed-query-args=" + strings.Join(names, ";")
	}
	req.Header.Set("Authorization", auth+",expires="+until+",signature="+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// exo makes a signed request in-process.
func exo(t *testing.T, s *cloudsim.Sim, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://api-ch-gva-2.exoscale.com/v2"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sign(req, body, exoKey, exoSecret, time.Now().Add(10*time.Minute))
	return send(t, s, req)
}

func send(t *testing.T, s *cloudsim.Sim, req *http.Request) (int, string) {
	t.Helper()
	resp, err := s.RoundTripper().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func target(id string) string { return `{"instance":{"id":"` + id + `"}}` }

func TestAPIAnswersAsExoscaleDoes(t *testing.T) {
	tests := []struct {
		name               string
		method, path, body string
		wantStatus         int
		want, wantNot      string // parts of the answer
	}{
		{"zones are listed", "GET", "/zone", "", 200, `"name":"at-vie-1"`, ""},
		{"elastic IPs do not tell who has them", "GET", "/elastic-ip", "", 200, `"ip":"198.51.100.50"`, lb2},
		{"an elastic IP of IPv6 is a network", "GET", "/elastic-ip/" + eip6, "", 200, `"cidr":"2001:db8:5::/96"`, lb2},
		{"a managed one has a health check", "GET", "/elastic-ip/" + eip6, "", 200, `"healthcheck":{`, ""},
		{"another has none", "GET", "/elastic-ip/" + eip, "", 200, `"ip"`, "healthcheck"},
		{"an unknown elastic IP", "GET", "/elastic-ip/x", "", 404, `"message"`, ""},
		{"a list of instances has no elastic IPs", "GET", "/instance", "", 200, lb2, "elastic-ips"},
		{"an instance's record has", "GET", "/instance/" + lb2, "", 200, `"elastic-ips":[{"id":"` + eip, ""},
		{"one without has no such field", "GET", "/instance/" + lb1, "", 200, `"public-ip":"203.0.113.1"`, "elastic-ips"},
		{"an instance of a pool says so", "GET", "/instance/" + lb2, "", 200, `"manager":{"id":"pool-1","type":"instance-pool"}`, ""},
		{"an instance of another zone is not there", "GET", "/instance/" + remote, "", 404, `"message"`, ""},
		{"the filter finds holders", "GET", "/instance?ip-address=198.51.100.50", "", 200, lb2, lb1},
		{"the filter finds by own address too", "GET", "/instance?ip-address=203.0.113.1", "", 200, lb1, lb2},
		{"the filter finds no instance", "GET", "/instance?ip-address=198.51.100.51", "", 200, `{"instances":[]}`, ""},
		{"attaching is an operation", "PUT", "/elastic-ip/" + eip + ":attach", target(lb1), 200, `"state":"success"`, ""},
		{"attaching twice is refused", "PUT", "/elastic-ip/" + eip + ":attach", target(lb2), 409, `"message"`, ""},
		{"detaching what is not attached fails later", "PUT", "/elastic-ip/" + eip + ":detach", target(lb1), 200, `"reason":"not-found"`, ""},
		{"an instance of another zone cannot be attached", "PUT", "/elastic-ip/" + eip + ":attach", target(remote), 404, `"message"`, ""},
		{"no instance", "PUT", "/elastic-ip/" + eip + ":attach", `{"instance":null}`, 400, `"message"`, ""},
		{"no JSON", "PUT", "/elastic-ip/" + eip + ":attach", "", 400, `"message"`, ""},
		{"an unknown verb", "PUT", "/elastic-ip/" + eip + ":move", target(lb1), 404, `"message"`, ""},
		{"an unknown operation", "GET", "/operation/x", "", 404, `"message"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, got := exo(t, newExoscale(t, nil), tt.method, tt.path, tt.body)
			if status != tt.wantStatus || !strings.Contains(got, tt.want) || tt.wantNot != "" && strings.Contains(got, tt.wantNot) {
				t.Errorf("want %d with %q without %q, got %d with %s", tt.wantStatus, tt.want, tt.wantNot, status, got)
			}
		})
	}
}

func TestSignatureIsVerified(t *testing.T) {
	const path = "https://x/v2/instance?ip-address=198.51.100.50&labels=a"
	now := time.Now()
	tests := []struct {
		name string
		spy  func(*http.Request) // the change of a proxy on the way
		key  string
		in   time.Duration // until the signature expires
		want int
	}{
		{"right", func(*http.Request) {}, exoKey, 10 * time.Minute, 200},
		{"expired", func(*http.Request) {}, exoKey, -time.Minute, 403},
		{"another key", func(*http.Request) {}, "EXOother", time.Minute, 403},
		{"another method", func(r *http.Request) { r.Method = "PUT" }, exoKey, time.Minute, 403},
		{"another path", func(r *http.Request) { r.URL.Path += "/x" }, exoKey, time.Minute, 403},
		{"another argument", func(r *http.Request) {
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, ".50", ".51", 1)
		}, exoKey, time.Minute, 403},
		{"one more argument", func(r *http.Request) { r.URL.RawQuery += "&" + url.Values{"manager-id": {"x"}}.Encode() }, exoKey, time.Minute, 403},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }, exoKey, time.Minute, 403},
		{"a longer life", func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), fmt.Sprint(now.Add(time.Minute).Unix()), fmt.Sprint(now.Add(time.Hour).Unix()), 1))
		}, exoKey, time.Minute, 403},
		{"a bearer token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+exoSecret) }, exoKey, time.Minute, 403},
		{"nothing", func(r *http.Request) { r.Header.Del("Authorization") }, exoKey, time.Minute, 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newExoscale(t, nil)
			req, err := http.NewRequest("GET", path, nil)
			if err != nil {
				t.Fatal(err)
			}
			sign(req, "", tt.key, exoSecret, now.Add(tt.in))
			tt.spy(req)
			if got, body := send(t, s, req); got != tt.want {
				t.Errorf("want %d, got %d: %s", tt.want, got, body)
			}
			if got := s.History()[0].Token; got != (tt.want == 200) {
				t.Errorf("history: right credentials: %v", got)
			}
		})
	}
}

func TestOperationTakesEffectWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newExoscale(t, func(c *cloudsim.Config) { c.OperationTime = time.Second })
		start := time.Now()
		var moves []string
		s.OnMove(func(m cloudsim.Move) {
			moves = append(moves, fmt.Sprintf("%s at %s: to %s of %d", m.Network, time.Since(start), m.To, len(m.Servers)))
		})
		_, body := exo(t, s, "PUT", "/elastic-ip/"+eip+":attach", target(lb1))
		var op struct{ ID, State string }
		if err := json.Unmarshal([]byte(body), &op); err != nil || op.State != "pending" {
			t.Fatalf("want a pending operation, got %s", body)
		}
		time.Sleep(time.Second - 1)
		if _, body := exo(t, s, "GET", "/operation/"+op.ID, ""); !strings.Contains(body, `"pending"`) {
			t.Errorf("before its time: want it pending, got %s", body)
		}
		if got := s.Holders(exo4.Addr()); !slices.Equal(got, []string{lb2}) {
			t.Errorf("before its time: want %s, got %v", lb2, got)
		}
		// The data plane does not wait for a request.
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		exo(t, s, "PUT", "/elastic-ip/"+eip+":detach", target(lb2))
		time.Sleep(time.Second)
		synctest.Wait()
		want := []string{
			"198.51.100.50/32 at 1s: to " + lb2 + " of 2", // the worst case: the longest attached
			"198.51.100.50/32 at 2s: to " + lb1 + " of 1",
		}
		if d := cmp.Diff(want, moves); d != "" {
			t.Errorf("moves, want-, got+:\n%s", d)
		}
		for i, r := range s.History() {
			if r.Write != r.Applied {
				t.Errorf("request %d: want writes told as applied, got %+v", i, r)
			}
		}
	})
}

func TestFaultsOfExoscale(t *testing.T) {
	const filter6, filter4 = "/instance?ip-address=2001:db8:5::", "/instance?ip-address=198.51.100.50"
	tests := []struct {
		name          string
		fault         cloudsim.Fault
		path          string
		want, wantNot string
	}{
		{"filter ignored", cloudsim.Fault{Kind: cloudsim.FilterIgnored}, filter4, lb1, remote},
		{"filter lagging", cloudsim.Fault{Kind: cloudsim.FilterLagging}, filter4, lb2, lb1},
		{"filter without IPv6", cloudsim.Fault{Kind: cloudsim.FilterWithoutIPv6}, filter6, `"instances":[]`, lb2},
		{"filter without IPv6, for IPv4", cloudsim.Fault{Kind: cloudsim.FilterWithoutIPv6}, filter4, lb1, lb2},
		{"stale reads", cloudsim.Fault{Kind: cloudsim.Stale}, "/instance/" + lb1, "lb1", "elastic-ips"},
		{"no fault", cloudsim.Fault{Kind: cloudsim.Slow}, filter4, lb1, lb2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newExoscale(t, nil)
			if err := s.Give(exo4.Addr(), lb1); err != nil {
				t.Fatal(err)
			}
			s.SetFaults(cloudsim.Faults{tt.fault})
			if _, got := exo(t, s, "GET", tt.path, ""); !strings.Contains(got, tt.want) || strings.Contains(got, tt.wantNot) {
				t.Errorf("want %q without %q, got %s", tt.want, tt.wantNot, got)
			}
		})
	}
	for _, tt := range []struct {
		name      string
		fault     cloudsim.Fault
		want      string
		wantMoved bool
	}{
		{"operation fails", cloudsim.Fault{Kind: cloudsim.OperationFails}, `"reason":"busy"`, false},
		{"operation fails for a reason", cloudsim.Fault{Kind: cloudsim.OperationFails, Reason: "conflict"}, `"reason":"conflict"`, false},
		{"operation vanishes", cloudsim.Fault{Kind: cloudsim.OperationVanishes}, "Operation not found", true},
		{"accepted only", cloudsim.Fault{Kind: cloudsim.AcceptedOnly}, `"state":"success"`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newExoscale(t, nil, tt.fault)
			_, body := exo(t, s, "PUT", "/elastic-ip/"+eip+":attach", target(lb1))
			var op struct{ ID string }
			if err := json.Unmarshal([]byte(body), &op); err != nil {
				t.Fatal(err)
			}
			if _, got := exo(t, s, "GET", "/operation/"+op.ID, ""); !strings.Contains(got, tt.want) {
				t.Errorf("want %q, got %s", tt.want, got)
			}
			if moved := slices.Contains(s.Holders(exo4.Addr()), lb1); moved != tt.wantMoved {
				t.Errorf("moved: want %v, got %v", tt.wantMoved, moved)
			}
		})
	}
}

func TestMetadataOfExoscaleIsOneValuePerPath(t *testing.T) {
	s := newExoscale(t, nil)
	for path, want := range map[string]string{"instance-id": lb1, "availability-zone": "ch-gva-2", "local-hostname": "lb1"} {
		req, _ := http.NewRequest("GET", "http://x/latest/meta-data/"+path, nil)
		if status, got := send(t, s, req); status != 200 || got != want {
			t.Errorf("%s: want %s, got %d with %s", path, want, status, got)
		}
	}
	req, _ := http.NewRequest("GET", "http://x/latest/meta-data/x", nil)
	if status, _ := send(t, s, req); status != 404 {
		t.Errorf("an unknown value: want 404, got %d", status)
	}
	for _, r := range s.History() {
		if !r.Metadata {
			t.Errorf("want it recorded as metadata, got %+v", r)
		}
	}
}

func TestUnfriendlyHabitsRepeatWithTheSeedAndOutliveSetFaults(t *testing.T) {
	run := func(seed uint64) (faults []cloudsim.Kind) {
		synctest.Test(t, func(t *testing.T) {
			s := newExoscale(t, func(c *cloudsim.Config) { c.Unfriendly, c.Seed = true, seed })
			s.SetFaults(nil)
			for range 200 {
				req, _ := http.NewRequest("GET", "http://x/v2/elastic-ip", nil)
				sign(req, "", exoKey, exoSecret, time.Now().Add(time.Minute))
				if resp, err := s.RoundTripper().RoundTrip(req); err == nil {
					io.Copy(io.Discard, resp.Body) // may be cut
					resp.Body.Close()
				}
			}
			for _, r := range s.History() {
				faults = append(faults, r.Fault)
			}
		})
		return faults
	}
	one, again, other := run(7), run(7), run(8)
	if d := cmp.Diff(one, again); d != "" {
		t.Errorf("the same seed: want-, got+:\n%s", d)
	}
	if slices.Equal(one, other) {
		t.Error("another seed: want other habits")
	}
	for _, want := range []cloudsim.Kind{cloudsim.UnknownFields, cloudsim.Drop, cloudsim.Status} {
		if !slices.Contains(one, want) {
			t.Errorf("want %s among 200 requests", want)
		}
	}
}

func TestControlKnowsElasticIPs(t *testing.T) {
	s := newExoscale(t, nil)
	ask := func(method, path, body string) string {
		req, _ := http.NewRequest(method, "http://x/_sim/"+path, strings.NewReader(body))
		status, answer := send(t, s, req)
		if status >= 300 {
			t.Errorf("%s %s: %d %s", method, path, status, answer)
		}
		return answer
	}
	ask("POST", "assign", `{"network":"198.51.100.50/32","server":"`+lb1+`"}`)
	if got := s.Holders(exo4.Addr()); !slices.Equal(got, []string{lb1}) {
		t.Errorf("want %s alone, got %v", lb1, got)
	}
	var holders []struct {
		Network string
		Servers []string
	}
	if err := json.Unmarshal([]byte(ask("GET", "floating-ips", "")), &holders); err != nil || len(holders) != 2 || !slices.Equal(holders[0].Servers, []string{lb1}) {
		t.Errorf("want the elastic IPs with their servers, got %+v, %v", holders, err)
	}
}

package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"berth/api"
	"berth/election"
	"berth/internal/cluster"
	"berth/ips"
)

const (
	ip1 = `{"id":"vip-192.0.2.1","ip":"192.0.2.1/32","keepalive_interval":0,"healthcheck_interval":0`
	// of its state, which follows
	state1 = `,"status":"STANDBY","owner":"lb2","since":"2026-11-29T20:00:00Z","reason":"lb2 owns it","last_event":{"event":"demoted","at":"2026-11-29T20:00:00Z"}}`
)

// The routes of LinK and what they answer, for a list with 192.0.2.1 and 2001:db8::1.
func TestRoutes(t *testing.T) {
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		answer                   string // of an error: its text
		calls                    string
	}{
		{"get", "GET", "/ips/vip-192.0.2.1", "", 200, `{"ip":` + ip1 + state1 + `}`, ""},
		{"get by the address alone", "GET", "/ips/192.0.2.1", "", 200, `{"ip":` + ip1 + state1 + `}`, ""},
		{"get by the address with a length", "GET", "/ips/192.0.2.1%2F24", "", 200, `{"ip":` + ip1 + state1 + `}`, ""},
		{"get an address of IPv6", "POST", "/ips/vip-2001:DB8:0::1/lock", "", 204, "", "lock vip-2001:db8::1"},
		{"unknown id", "GET", "/ips/vip-192.0.2.10", "", 404, "not found", ""},
		{"id of LinK", "GET", "/ips/vip-6f1f2ac2-27b4-4b0e-8d5f-9c6a0f1d5f10", "", 404, "not found", ""},
		{"id that is a path", "GET", "/ips/..%2f..%2fcluster", "", 404, "not found", ""},
		{"HEAD of one", "HEAD", "/ips/192.0.2.1", "", 200, "", ""},
		{"add", "POST", "/ips", `{"ip":"192.0.2.3/24","healthcheck_interval":5,"keepalive_interval":3,"checks":[{"type":"TCP","host":"127.0.0.1","port":80}]}`, 201,
			`{"id":"vip-192.0.2.3","ip":"192.0.2.3/24","checks":[{"type":"TCP","host":"127.0.0.1","port":80}],"keepalive_interval":3,"healthcheck_interval":5}`,
			"add 192.0.2.3/24 [TCP:127.0.0.1:80] 3 5"},
		{"add twice", "POST", "/ips", `{"ip":"192.0.2.1"}`, 400, "IP already assigned", "add 192.0.2.1 [] 0 0"},
		{"add with keys that are not known", "POST", "/ips", `{"ip":"192.0.2.4","name":"x","status":"ACTIVATED"}`, 201, `{"id":"vip-192.0.2.4","ip":"192.0.2.4/32","keepalive_interval":0,"healthcheck_interval":0}`,
			"add 192.0.2.4 [] 0 0"},
		{"add with null", "POST", "/ips", `{"ip":"192.0.2.4","checks":null,"keepalive_interval":null}`, 201, `{"id":"vip-192.0.2.4","ip":"192.0.2.4/32","keepalive_interval":0,"healthcheck_interval":0}`,
			"add 192.0.2.4 [] 0 0"},
		{"add no address", "POST", "/ips", `{}`, 400, `invalid IP`, ""},
		{"add a secret", "POST", "/ips", `{"ip":"5up3rS3cret"}`, 400, `invalid IP: it is not an IP address`, ""},
		{"a secret as the host of a check", "POST", "/ips", `{"ip":"192.0.2.4","checks":[{"type":"TCP","host":"://5up3rS3cret","port":80}]}`, 400, `invalid health check host: it is a host name or an IP address, without a port`, ""},
		{"a secret as the type of a check", "PATCH", "/ips/192.0.2.1", `{"checks":[{"type":"5up3rS3cret","host":"h","port":80}]}`, 400, `invalid health check type: TCP is the only one`, ""},
		{"add no host", "POST", "/ips", `{"ip":"127.0.0.1"}`, 400, `invalid IP`, ""},
		{"add a number", "POST", "/ips", `{"ip":5}`, 400, `invalid json: ip has to be a text`, ""},
		{"add nothing", "POST", "/ips", "", 400, `invalid json: the body is empty; write an object such as {"ip": "192.0.2.10"}`, ""},
		{"add half", "POST", "/ips", `{"ip":"192.0.2.4"`, 400, `invalid json: the body is not one JSON object; write one such as {"ip": "192.0.2.10"}`, ""},
		{"add two", "POST", "/ips", `{"ip":"192.0.2.4"}{"ip":"192.0.2.5"}`, 400, `invalid json: the body is not one JSON object; write one such as {"ip": "192.0.2.10"}`, ""},
		{"add a list", "POST", "/ips", `["192.0.2.4"]`, 400, `invalid json: the body is not one JSON object; write one such as {"ip": "192.0.2.10"}`, ""},
		{"add null alone", "POST", "/ips", `null`, 400, `invalid json: the body is not one JSON object; write one such as {"ip": "192.0.2.10"}`, ""},
		{"interval with a fraction", "POST", "/ips", `{"ip":"192.0.2.4","keepalive_interval":1.5}`, 400, `invalid json: keepalive_interval has to be a whole number`, ""},
		{"interval with an exponent", "POST", "/ips", `{"ip":"192.0.2.4","keepalive_interval":1e2}`, 400, `invalid json: keepalive_interval has to be a whole number`, ""},
		{"huge interval", "POST", "/ips", `{"ip":"192.0.2.4","healthcheck_interval":99999999999999999999}`, 400, `invalid json: healthcheck_interval has to be a whole number`, ""},
		{"text as an interval", "POST", "/ips", `{"ip":"192.0.2.4","healthcheck_interval":"5up3rS3cret"}`, 400, `invalid json: healthcheck_interval has to be a whole number`, ""},
		{"negative interval", "POST", "/ips", `{"ip":"192.0.2.4","healthcheck_interval":-1}`, 400, `invalid healthcheck_interval -1: it is in seconds, from 1 to 3600, or 0 for the default`, ""},
		{"port with a fraction", "POST", "/ips", `{"ip":"192.0.2.4","checks":[{"type":"TCP","host":"h","port":80.5}]}`, 400, `invalid json: checks.port has to be a whole number`, ""},
		{"negative port", "POST", "/ips", `{"ip":"192.0.2.4","checks":[{"type":"TCP","host":"h","port":-1}]}`, 400, `health check port cannot be negative, and it is -1: write 1 to 65535`, ""},
		{"port out of range", "POST", "/ips", `{"ip":"192.0.2.4","checks":[{"type":"TCP","host":"h","port":65536}]}`, 400, `invalid health check port 65536: write 1 to 65535`, ""},
		{"check of another type", "POST", "/ips", `{"ip":"192.0.2.4","checks":[{"type":"HTTP","host":"h","port":80}]}`, 400, `invalid health check type: TCP is the only one`, ""},
		{"checks that are no list", "POST", "/ips", `{"ip":"192.0.2.4","checks":{}}`, 400, `invalid json: checks has to be a list`, ""},
		{"check that is no object", "POST", "/ips", `{"ip":"192.0.2.4","checks":[1]}`, 400, `invalid json: checks has to be an object`, ""},
		{"checks in the words of LinK's second version", "POST", "/ips", `{"ip":"192.0.2.4","healthchecks":[{"type":"TCP","host":"h","port":80}]}`, 201,
			`{"id":"vip-192.0.2.4","ip":"192.0.2.4/32","checks":[{"type":"TCP","host":"h","port":80}],"keepalive_interval":0,"healthcheck_interval":0}`, "add 192.0.2.4 [TCP:h:80] 0 0"},
		{"remove", "DELETE", "/ips/vip-192.0.2.1", "", 204, "", "remove vip-192.0.2.1"},
		{"remove what is not there", "DELETE", "/ips/vip-192.0.2.9", "", 404, "not found", ""},
		{"lock", "POST", "/ips/vip-192.0.2.1/lock", "", 204, "", "lock vip-192.0.2.1"},
		{"lock with a body, as LinK's client", "POST", "/ips/vip-192.0.2.1/lock", "{}", 204, "", "lock vip-192.0.2.1"},
		{"lock of what is not there", "POST", "/ips/192.0.2.9/lock", "", 404, "not found", ""},
		{"failover", "POST", "/ips/192.0.2.1/failover", "", 204, "", "failover vip-192.0.2.1"},
		{"replace the checks", "PUT", "/ips/192.0.2.1", `{"checks":[{"type":"TCP","host":"h","port":1}]}`, 200, `{"ip":` + ip1 + state1 + `}`, "update vip-192.0.2.1 [TCP:h:1] 0 0"},
		{"replace by nothing", "PUT", "/ips/192.0.2.1", `{}`, 200, `{"ip":` + ip1 + state1 + `}`, "update vip-192.0.2.1 [] 0 0"},
		{"replace, in the words of LinK's second version", "PUT", "/ips/192.0.2.1", `{"healthchecks":[]}`, 200, `{"ip":` + ip1 + state1 + `}`, "update vip-192.0.2.1 [] - -"},
		{"change an interval", "PATCH", "/ips/192.0.2.1", `{"keepalive_interval":7}`, 200, `{"ip":` + ip1 + state1 + `}`, "update vip-192.0.2.1 - 7 -"},
		{"change the checks, in the words of LinK's second version", "PATCH", "/ips/192.0.2.1", `{"healthchecks":[{"type":"TCP","host":"h","port":1}]}`, 200, `{"ip":` + ip1 + state1 + `}`, "update vip-192.0.2.1 [TCP:h:1] - -"},
		{"change with both words", "PATCH", "/ips/192.0.2.1", `{"healthchecks":[],"checks":[]}`, 400, "checks stands beside healthchecks, which means the same; write one of the two", ""},
		{"change to a wrong check", "PATCH", "/ips/192.0.2.1", `{"checks":[{"type":"TCP","host":"h","port":0}]}`, 400, "invalid health check port 0: write 1 to 65535", ""},
		{"version", "GET", "/version", "", 200, `{"version":"1.2.3"}`, ""},

		{"failover of an instance", "POST", "/instances/a%2Fb/failover", "", 204, "", "failover of instance a/b"},
		{"failover of no instance", "POST", "/instances/nobody/failover", "", 404, "not found", ""},
		{"pool", "GET", "/pool", "", 200, `{"prefix":"/berth/pool/","addresses":[],"members":[],"without_effect":[]}`, ""},
		{"add to the pool", "POST", "/pool/ips", `{"addresses":["192.0.2.7"]}`, 200, `192.0.2.7`, "add [192.0.2.7] to the pool"},
		{"add nothing to the pool", "POST", "/pool/ips", `{}`, 400, `addresses is missing or empty; write an object such as {"addresses": ["192.0.2.10"]}`, ""},
		{"add a number to the pool", "POST", "/pool/ips", `{"addresses":[1]}`, 400, `invalid json: addresses has to be a text`, ""},
		{"add a secret to the pool", "POST", "/pool/ips", `{"addresses":["192.0.2.7","5up3rS3cret"]}`, 400,
			"addresses[1] cannot be an address of the pool: it is not an IP address with or without a prefix length, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10", ""},
		{"remove from the pool", "DELETE", "/pool/ips/192.0.2.7%2F24", "", 200, `192.0.2.7/24`, "remove [192.0.2.7/24] from the pool"},
		{"remove from the pool what is not there", "DELETE", "/pool/ips/192.0.2.99", "", 404, "remove 192.0.2.99 from the pool: not there", ""},
		{"drain another member", "PUT", "/pool/drained/lb%2F2", "", 200, "lb/2", "drain lb/2 own=false undo=false"},
		{"drain this member no longer", "DELETE", "/pool/drained/lb1", "", 200, "lb1", "drain lb1 own=true undo=true"},
		{"cluster", "GET", "/cluster", "", 200, `{"prefix":"/berth/","this":"lb1",`, ""},
		{"status", "GET", "/status", "", 200, `[{"instance":"api",`, ""},
		{"alive", "GET", "/healthz", "", 200, `{"status":"ok"}`, ""},
		{"ready", "GET", "/readyz", "", 200, `{"status":"ready"}`, ""},
		{"metrics", "GET", "/metrics", "", 200, "# HELP berth_api_requests_total", ""},

		{"slash at the end", "GET", "/version/", "", 200, `{"version":"1.2.3"}`, ""},
		{"slash twice", "GET", "//version", "", 200, `{"version":"1.2.3"}`, ""},
		{"slashes of a client that joins badly", "POST", "//ips//192.0.2.1//lock/", "", 204, "", "lock vip-192.0.2.1"},
		{"dots", "GET", "/ips/../version", "", 200, `{"version":"1.2.3"}`, ""},
		{"no such route", "GET", "/nothing", "", 404, "not found: no such route; /openapi.json describes all", ""},
		{"route of LinK that there is no more", "GET", "/debug/pprof/heap", "", 404, "not found: no such route; /openapi.json describes all", ""},
		{"other method", "PATCH", "/ips", "{}", 405, "the method PATCH is not for this path; allowed are GET, HEAD, POST", ""},
		{"made-up method", "BREW", "/cluster", "", 405, "the method BREW is not for this path; allowed are GET, HEAD", ""},
		{"options", "OPTIONS", "/ips/192.0.2.1", "", 405, "the method OPTIONS is not for this path; allowed are DELETE, GET, HEAD, PATCH, PUT", ""},
		{"large body", "POST", "/ips", `{"ip":"` + strings.Repeat("1", 64<<10) + `"}`, 413, "the body has more than 65536 bytes", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld()
			o, _, _ := w.options(t)
			for _, text := range []string{"192.0.2.1", "2001:db8::1"} {
				if _, err := o.IPs.Add(t.Context(), ips.Spec{IP: text}); err != nil {
					t.Fatal(err)
				}
			}
			w.told()
			got := send(api.New(o).Handler(), row.method, row.path, row.body, "Content-Type: application/x-www-form-urlencoded")
			if got.Code != row.status {
				t.Errorf("want status %d, got %d: %s", row.status, got.Code, got.Body)
			}
			text := strings.TrimSuffix(got.Body.String(), "\n")
			if row.status >= 400 {
				text = said(t, got)
			}
			whole := row.method != "GET" || strings.HasSuffix(row.answer, "}") || row.status >= 400
			if strings.HasPrefix(row.answer, "invalid IP") || row.status == 200 && !strings.HasPrefix(row.answer, "{") {
				whole = false
			}
			if !strings.Contains(text, row.answer) || whole && row.method != "HEAD" && text != row.answer {
				t.Errorf("want %s, got %s", row.answer, text)
			}
			if strings.Contains(text, "5up3rS3cret") {
				t.Errorf("a value is repeated: %s", text)
			}
			if got := w.told(); got != row.calls {
				t.Errorf("want the calls %q, got %q", row.calls, got)
			}
			if allow := got.Header().Get("Allow"); row.status == http.StatusMethodNotAllowed && !strings.HasSuffix(row.answer, allow) {
				t.Errorf("want Allow as in the text, got %q", allow)
			}
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
				if is := got.Header().Get(name); is != want {
					t.Errorf("want the header %s: %s, got %q", name, want, is)
				}
			}
		})
	}
}

func TestAnEmptyListIsAList(t *testing.T) {
	w := newWorld()
	o, _, _ := w.options(t)
	h := api.New(o).Handler()
	if got := send(h, "GET", "/ips", ""); got.Code != 200 || got.Body.String() != "{\"ips\":[]}\n" {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	w.status = nil
	if got := send(h, "GET", "/status", ""); got.Code != 200 || got.Body.String() != "[]\n" {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	if _, err := o.IPs.Add(t.Context(), ips.Spec{IP: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	if got := send(h, "GET", "/ips", ""); got.Body.String() != `{"ips":[`+ip1+state1+"]}\n" {
		t.Errorf("got %s", got.Body)
	}
}

// Each kind of error has its status, and etcd's silence is one that passes.
func TestErrorsOfTheServiceHaveTheirStatus(t *testing.T) {
	for _, row := range []struct {
		err    error
		status int
		text   string
	}{
		{&ips.InvalidError{Text: "it is wrong"}, 400, "it is wrong"},
		{&ips.ConflictError{Text: "not beside a pool"}, 409, "not beside a pool"},
		{&election.RefusedError{Reason: "no other member takes part"}, 409, "no other member takes part"},
		{fmt.Errorf("write: %w", election.ErrNoAnswer), 503, "etcd does not answer"},
		{errors.New("etcdserver: permission denied"), 503, "etcdserver: permission denied"},
	} {
		w := newWorld()
		o, _, _ := w.options(t)
		w.err = row.err
		got := send(api.New(o).Handler(), "POST", "/ips", `{"ip":"192.0.2.1"}`)
		if text := said(t, got); got.Code != row.status || text != row.text {
			t.Errorf("%v: want %d %s, got %d %s", row.err, row.status, row.text, got.Code, text)
		}
		if again := got.Header().Get("Retry-After"); (again != "") != (row.status == 503) {
			t.Errorf("%v: got Retry-After %q", row.err, again)
		}
	}
}

func TestWhereNothingCanBeAddedTheCureIsSaid(t *testing.T) {
	w := newWorld()
	o, _, _ := w.options(t)
	o.IPs, o.Pool, o.Instances = nil, nil, nil
	h := api.New(o).Handler()
	for _, row := range []struct{ method, path, cure string }{
		{"GET", "/ips", "election.interface"}, {"POST", "/ips", "election.interface"}, {"DELETE", "/ips/192.0.2.1", "election.interface"},
		{"GET", "/pool", "pool: {enabled: true}"}, {"POST", "/pool/ips", "pool: {enabled: true}"}, {"PUT", "/pool/drained/lb1", "pool: {enabled: true}"},
		{"POST", "/instances/api/failover", "keepalived"},
	} {
		got := send(h, row.method, row.path, "")
		if text := said(t, got); got.Code != 409 || !strings.Contains(text, row.cure) {
			t.Errorf("%s %s: want 409 and %s, got %d %s", row.method, row.path, row.cure, got.Code, text)
		}
	}
}

// A request that waits for etcd ends before the client gives up, and says for what it
// waited.
func TestAChangeThatEtcdDoesNotAnswerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		o, _, _ := w.options(t)
		w.wait = true
		got := send(api.New(o).Handler(), "POST", "/ips", `{"ip":"192.0.2.1"}`)
		if text := said(t, got); got.Code != 503 || text != "etcd does not answer" {
			t.Errorf("got %d %s", got.Code, text)
		}
	})
}

func TestReadinessHasItsReasonAndHealthDoesNotDependOnIt(t *testing.T) {
	w := newWorld()
	w.ready = "etcd has given this member no lease yet"
	o, _, _ := w.options(t)
	h := api.New(o).Handler()
	if got := send(h, "GET", "/readyz", ""); got.Code != 503 || said(t, got) != w.ready {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
	if got := send(h, "GET", "/healthz", ""); got.Code != 200 {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

// A fault of berth is answered without its stack, and is told once.
func TestAPanicIsAnAnswerAndOneLine(t *testing.T) {
	w := newWorld()
	o, _, lines := w.options(t)
	o.Cluster = nil
	o.Version = "x"
	o.Ready = func() (bool, string) { panic("the secret is out") }
	h := api.New(o).Handler()
	for range 3 {
		if got := send(h, "GET", "/readyz", ""); got.Code != 500 || said(t, got) != "a fault of berth; its log has the reason" {
			t.Errorf("got %d %s", got.Code, got.Body)
		}
	}
	if all := lines.FilterField(zapCode("api-request-failed")).All(); len(all) != 1 || !strings.Contains(fmt.Sprint(all[0].ContextMap()["stack"]), "ready") {
		t.Errorf("want one line with the stack, got %v", lines.All())
	}
}

// The owner can change after the sender of a request has seen it. The owner itself would then
// hand over what it was asked to take.
func TestAFailoverToTheOwnerMovesNothing(t *testing.T) {
	w := newWorld()
	o, _, _ := w.options(t)
	if _, err := o.IPs.Add(t.Context(), ips.Spec{IP: "192.0.2.1"}); err != nil {
		t.Fatal(err)
	}
	w.told()
	h := api.New(o).Handler()
	for _, row := range []struct {
		owner     string
		reachable bool
		query     string
		status    int
		calls     string
	}{
		{"lb2", true, "?to=lb1", 204, "failover vip-192.0.2.1; failover of instance web"},
		{"lb1", true, "?to=lb1", 204, ""},
		{"lb1", false, "?to=lb1", 204, "failover vip-192.0.2.1; failover of instance web"},
		{"lb1", true, "", 204, "failover vip-192.0.2.1; failover of instance web"},
		{"lb2", true, "?to=lb3", 409, ""},
	} {
		w.mu.Lock()
		w.view.Etcd.Reachable = row.reachable
		w.view.Addresses = []cluster.AddressView{
			{Address: "192.0.2.1/32", Instance: "192.0.2.1", Kind: cluster.KindAdded, ID: "vip-192.0.2.1", Owner: row.owner},
			{Address: "192.0.2.5/32", Instance: "web", Kind: cluster.KindElection, Owner: row.owner},
		}
		w.mu.Unlock()
		for _, path := range []string{"/ips/192.0.2.1/failover", "/instances/web/failover"} {
			if got := send(h, "POST", path+row.query, ""); got.Code != row.status {
				t.Errorf("%+v, %s: got %d, %s", row, path, got.Code, got.Body)
			}
		}
		if got := w.told(); got != row.calls {
			t.Errorf("%+v: got the calls %q", row, got)
		}
	}
}

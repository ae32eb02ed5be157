// Package exec asks a program of the user's own, for clouds that berth does not
// know. The program is started for each request, without a shell, gets one JSON
// object on its standard input, and writes one on its standard output:
//
//	{"version":1,"op":"describe"}
//	    {"name":"Hetzner Cloud","ops":["observe","claim","release","whoami"]}
//	{"version":1,"op":"whoami"}
//	    {"id":"4711","name":"lb1"}
//	{"version":1,"op":"observe","addresses":["192.0.2.10","2001:db8::1"]}
//	    {"holders":{"192.0.2.10":{"kind":"mine"},
//	                "2001:db8::1":{"kind":"other","owner":"lb2","object":"fip-17"}}}
//	{"version":1,"op":"claim","address":"192.0.2.10"}
//	    {}
//	{"version":1,"op":"release","address":"192.0.2.10"}
//	    {}
//
// kind is mine, other, nobody, not-server (something that is not a server has it) or
// not-managed (it is not a floating IP of the account). Every address asked for must
// be answered. claim is idempotent, and over when the address points here. observe
// and release need not be offered; without observe a claim is believed, and
// repeated every repeat-interval. More fields than these are ignored.
//
// A program tells that a request failed by
//
//	{"error":{"kind":"rate-limited","message":"slow down","retry_after":7}}
//
// where kind is transient, rate-limited, auth, not-found or invalid and
// retry_after counts seconds; or, without an answer, by the exit status of
// sysexits(3): 64 and 78 invalid, 77 auth, 75 and all others transient. Standard
// error goes to the log, line by line.
//
// A program that takes longer than timeout is killed. It has a process group of its
// own, which is killed when the program ends, and the program is killed when berth
// dies: a process that is to outlive the program must leave the group (setsid(2)).
// The program gets PATH, HOME, TZ, LANG and LC_* of berth's environment and the
// variables that the section has under environment, which never show in the log. It
// inherits no descriptor but standard input, output and error.
package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"berth/internal/journal"
	"berth/internal/section"
	"berth/providers"
)

const (
	name = "exec"

	version        = 1
	defaultTimeout = 10 * time.Second
	defaultRepeat  = 5 * time.Minute
)

// Entry registers the provider.
var Entry = providers.NewEntry(decode, newClient, Events)

// config is the section as written, and checked.
type config struct {
	command         []string
	environment     map[string]string
	timeout, repeat time.Duration
}

func decode(node *yaml.Node) (config, error) {
	c := config{timeout: defaultTimeout, repeat: defaultRepeat}
	s := section.Read(name, node, section.Keys{
		"command":         &c.command,
		"environment":     &c.environment,
		"timeout":         section.Duration{To: &c.timeout},
		"repeat-interval": section.Duration{To: &c.repeat},
	})
	if len(c.command) > 0 && !filepath.IsAbs(c.command[0]) {
		s.RefuseItem("command", 0, "", "the absolute path of a program")
	}
	return c, s.Err()
}

// keysIn returns the arguments that may be keys, which the program may repeat on its
// standard error: long ones that are not paths, also behind an =.
func keysIn(arguments []string) []string {
	var keys []string
	for _, a := range arguments {
		if _, value, ok := strings.Cut(a, "="); ok {
			a = value
		}
		if len(a) >= 16 && !section.IsPath(a) {
			keys = append(keys, a)
		}
	}
	return keys
}

// Client is a providers.Provider.
type Client struct {
	journal *journal.Journal
	command []string
	extra   []string // NAME=value, from the configuration
	timeout time.Duration
	caller  *providers.Caller // makes no calls, but errors without secrets
	claims  *providers.Claims
	metrics *providers.Metrics

	slots      chan struct{} // one in it for each program that runs
	describing providers.Shared[struct{}, []string]

	mu  sync.Mutex
	ops []string // that the program offers, nil until it has told
}

// newClient makes no calls.
func newClient(d providers.Deps, conf config) (providers.Provider, error) {
	if len(conf.command) == 0 {
		return nil, errors.New("exec.command: missing; write the absolute path of a program and its arguments as a list")
	}
	credentials, err := providers.NewCredentials(func() ([]string, error) {
		return append(slices.Collect(maps.Values(conf.environment)), keysIn(conf.command[1:])...), nil
	})
	if err != nil {
		return nil, err
	}
	j := d.ProviderJournal(name)
	c := &Client{
		journal: j,
		command: conf.command,
		timeout: conf.timeout,
		caller:  providers.NewCaller(providers.CallerOptions{Provider: name, Credentials: credentials, Journal: j}),
		claims:  providers.NewClaims(conf.repeat),
		metrics: d.Metrics,
		slots:   make(chan struct{}, runsAtOnce),
	}
	for _, key := range slices.Sorted(maps.Keys(conf.environment)) {
		c.extra = append(c.extra, key+"="+conf.environment[key])
	}
	return c, nil
}

var (
	_ providers.Preparer = (*Client)(nil)
	_ providers.Releaser = (*Client)(nil)
)

// request is what the program gets.
type request struct {
	Version   int          `json:"version"`
	Op        string       `json:"op"`
	Address   *netip.Addr  `json:"address,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
}

// Prepare asks the program what it offers.
func (c *Client) Prepare(ctx context.Context) error {
	_, err := c.describe(ctx)
	return err
}

// describe returns what the program offers; the program is asked once.
func (c *Client) describe(ctx context.Context) ([]string, error) {
	c.mu.Lock()
	ops := c.ops
	c.mu.Unlock()
	if ops != nil {
		return ops, nil
	}
	ops, err := c.describing.Do(ctx, struct{}{}, func(ctx context.Context) ([]string, error) {
		var answer struct {
			Name string   `json:"name"`
			Ops  []string `json:"ops"`
		}
		if err := c.ask(ctx, request{Op: "describe"}, &answer); err != nil {
			return nil, err
		}
		if !slices.Contains(answer.Ops, "claim") {
			return nil, c.caller.Refused("describe", providers.Invalid, "the program does not offer claim")
		}
		c.mu.Lock()
		c.ops = answer.Ops
		c.mu.Unlock()
		return answer.Ops, nil
	})
	if err != nil && ctx.Err() != nil {
		return nil, providers.EndedError(ctx, name, "describe")
	}
	return ops, err
}

// kinds are the words for the holders of an address.
var kinds = map[string]providers.HolderKind{
	"mine":        providers.Mine,
	"other":       providers.Other,
	"nobody":      providers.Nobody,
	"not-server":  providers.NotServer,
	"not-managed": providers.NotManaged,
}

// Observe runs the program once.
func (c *Client) Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	ops, err := c.describe(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ops, "observe") {
		return c.claims.Holders(addrs, "this host"), nil
	}
	var answer struct {
		Holders map[netip.Addr]struct {
			Kind   string `json:"kind"`
			Owner  string `json:"owner"`
			Object string `json:"object"`
		} `json:"holders"`
	}
	if err := c.ask(ctx, request{Op: "observe", Addresses: addrs}, &answer); err != nil {
		return nil, err
	}
	holders := make(map[netip.Addr]providers.Holder, len(addrs))
	for _, a := range addrs {
		h, ok := answer.Holders[a]
		kind, known := kinds[h.Kind]
		if !ok || !known {
			return nil, c.caller.Refused("observe", providers.Transient, fmt.Sprintf("the answer does not tell the holder of %s: kind %q", a, h.Kind))
		}
		if h.Owner == "" && kind != providers.Nobody && kind != providers.NotManaged {
			h.Owner = map[bool]string{true: "this host", false: "another host"}[kind == providers.Mine]
		}
		if h.Object == "" {
			h.Object = a.String()
		}
		holders[a] = providers.Holder{Kind: kind, Owner: h.Owner, Object: h.Object}
	}
	return holders, nil
}

// Claim runs the program once.
func (c *Client) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	if err := check(ctx); err != nil {
		return err
	}
	err := c.ask(ctx, request{Op: "claim", Address: &addr}, &struct{}{})
	if err == nil {
		c.claims.Made(addr)
	}
	return err
}

// Release runs the program once.
func (c *Client) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	ops, err := c.describe(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(ops, "release") {
		return c.caller.Refused("release", providers.Invalid, "the program does not offer it")
	}
	if err := check(ctx); err != nil {
		return err
	}
	if err := c.ask(ctx, request{Op: "release", Address: &addr}, &struct{}{}); err != nil {
		return err
	}
	c.claims.Ended(addr)
	return nil
}

// Self runs the program once.
func (c *Client) Self(ctx context.Context) (providers.Server, error) {
	var answer struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	err := c.ask(ctx, request{Op: "whoami"}, &answer)
	if err == nil && answer.ID == "" {
		err = c.caller.Refused("whoami", providers.Transient, "the answer has no id")
	}
	return providers.Server{ID: answer.ID, Name: answer.Name}, err
}

// failure is the answer to a request that failed.
type failure struct {
	Error *struct {
		Kind       providers.Kind `json:"kind"`
		Message    string         `json:"message"`
		RetryAfter seconds        `json:"retry_after"`
	} `json:"error"`
}

// maxRetryAfter bounds what a program can ask for.
const maxRetryAfter = 24 * time.Hour

// seconds is a number of seconds in JSON, however great.
type seconds time.Duration

// UnmarshalJSON takes a number that is out of range for the most that is believed.
func (s *seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // with which it returns an infinity
		return errors.New("retry_after is not a number")
	}
	*s = seconds(min(max(f, 0), maxRetryAfter.Seconds()) * float64(time.Second))
	return nil
}

// ask runs the program for one request and reads its answer.
func (c *Client) ask(ctx context.Context, r request, answer any) error {
	r.Version = version
	in, err := json.Marshal(r)
	if err != nil {
		return err
	}
	out, err := c.run(ctx, r.Op, append(in, '\n'))
	return c.read(r.Op, out, err, answer)
}

// read reads the answer of the program; err is how the program ended.
func (c *Client) read(op string, out []byte, err error, answer any) error {
	var f failure
	readErr := json.Unmarshal(out, &f)
	switch {
	case readErr == nil && f.Error != nil:
		kind := f.Error.Kind
		if !slices.Contains([]providers.Kind{providers.RateLimited, providers.Auth, providers.NotFound, providers.Invalid}, kind) {
			kind = providers.Transient
		}
		e := c.caller.Refused(op, kind, f.Error.Message)
		e.Wait = time.Duration(f.Error.RetryAfter)
		return e
	case err != nil:
		return err
	case readErr == nil:
		readErr = json.Unmarshal(out, answer)
	}
	if readErr != nil {
		return c.caller.Refused(op, providers.Transient, "read answer: "+readErr.Error())
	}
	return nil
}

// Package webhook tells an HTTP server of the user's own that this host is to have
// an address. It is for clouds that berth does not know, where somebody else makes
// the calls.
//
// For each claim the server gets a POST with a JSON object:
//
//	{"address":"192.0.2.10","host":"lb1.example.net","status":"activated"}
//
// and these headers:
//
//	X-Berth-Webhook-Resource-Id  the address
//	X-Berth-Webhook-Timestamp    seconds since 1970
//	X-Berth-Webhook-Signature    hex HMAC-SHA256, with the secret, of the timestamp,
//	                             a dot and the body
//
// A receiver should compare the signature in constant time and refuse a timestamp
// that is minutes old, as nothing else tells a request from its repetition. It says
// 2xx when the address points to the host, and anything else when it does not:
// then the request comes again, as berth goes on trying, and so it does every
// repeat-interval. A redirect is not followed. There is no way to ask who has an
// address; the server's answer is believed.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"gopkg.in/yaml.v3"

	"berth/internal/section"
	"berth/providers"
)

const (
	name = "webhook"

	secretEnv     = "BERTH_WEBHOOK_SECRET"
	defaultRepeat = 5 * time.Minute
	timeout       = 5 * time.Second

	opTell = "tell the webhook"

	headerPrefix = "X-Berth-Webhook-"
)

// Entry registers the provider.
var Entry = providers.Entry{
	Check: func(node *yaml.Node) error {
		_, err := decode(node)
		return err
	},
	New: New,
}

// config is the section as written, and checked.
type config struct {
	url, caFile        string
	secret, secretFile string
	repeat             time.Duration
}

func decode(node *yaml.Node) (config, error) {
	c := config{repeat: defaultRepeat}
	s := section.Read(name, node, section.Keys{
		"url":             &c.url,
		"secret":          &c.secret,
		"secret-file":     &c.secretFile,
		"ca-file":         &c.caFile,
		"repeat-interval": section.Duration{To: &c.repeat},
	})
	if c.url != "" {
		const want = "a URL such as https://hooks.example.net/berth"
		u, err := url.Parse(c.url) // whose error would repeat a password
		switch {
		case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Host == "":
			s.Refuse("url", "", want)
		case u.User != nil:
			s.Refuse("url", "a URL with a user or password", want)
		}
	}
	s.Path("secret-file", c.secretFile, "/etc/berth/webhook-secret")
	s.Path("ca-file", c.caFile, "/etc/berth/ca.pem")
	return c, s.Err()
}

// keysIn returns the parts of a URL that may be keys: receivers of webhooks hide
// themselves behind a long path or a query. An answer that repeats one must not be
// shown. The URL was checked.
func keysIn(text string) []string {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	var keys []string
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= 16 {
			keys = append(keys, part)
		}
	}
	for _, values := range u.Query() {
		for _, v := range values {
			if len(v) >= 8 {
				keys = append(keys, v)
			}
		}
	}
	return keys
}

// Client is a providers.Provider.
type Client struct {
	providers.TLS
	caller      *providers.Caller
	credentials *providers.Credentials
	url         string
	host        string
	userAgent   string
	claims      *providers.Claims
}

// New returns the provider for its section of the configuration.
func New(d providers.Deps, node *yaml.Node) (providers.Provider, error) {
	conf, err := decode(node)
	if err != nil {
		return nil, err
	}
	if conf.url == "" {
		return nil, errors.New("webhook.url: missing; write the URL of a server of your own, such as https://hooks.example.net/berth")
	}
	credentials, err := providers.NewCredentials(func() ([]string, error) {
		secret, err := d.Secret("secret", conf.secret, conf.secretFile, secretEnv)
		if err == nil && secret == "" {
			err = errors.New("missing; write secret or secret-file, or set the environment variable " + secretEnv)
		}
		if err != nil {
			return nil, fmt.Errorf("webhook.secret: %w", err)
		}
		return append([]string{secret}, keysIn(conf.url)...), nil
	})
	if err != nil {
		return nil, err
	}
	roots, err := providers.Roots(conf.caFile)
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	host, err := d.Hostname()
	if err != nil {
		return nil, fmt.Errorf("webhook: read host name: %w", err)
	}
	log := d.Log
	if log == nil {
		log = zap.NewNop()
	}
	transport := d.Transport
	if transport == nil {
		transport = providers.NewTransport(d.Names, true, roots)
	}
	return &Client{
		TLS: providers.TLS{Endpoint: conf.url, Names: d.Names},
		caller: providers.NewCaller(providers.CallerOptions{
			Provider: name, Transport: transport, Credentials: credentials, Timeout: timeout, Log: log, Metrics: d.Metrics}),
		credentials: credentials,
		url:         conf.url,
		host:        host,
		userAgent:   d.UserAgent,
		claims:      providers.NewClaims(conf.repeat),
	}, nil
}

var _ providers.Releaser = (*Client)(nil)

// Observe makes no call: it says of what was told lately that this host has it.
func (c *Client) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	return c.claims.Holders(addrs, c.host), nil
}

// Claim makes one call.
func (c *Client) Claim(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	err := c.tell(ctx, addr, "activated", check)
	if err == nil {
		c.claims.Made(addr)
	}
	return err
}

// Release makes one call.
func (c *Client) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	err := c.tell(ctx, addr, "deactivated", check)
	if err == nil {
		c.claims.Ended(addr)
	}
	return err
}

// Self names this host as requests do.
func (c *Client) Self(context.Context) (providers.Server, error) {
	return providers.Server{ID: c.host}, nil
}

func (c *Client) tell(ctx context.Context, addr netip.Addr, status string, check func(context.Context) error) error {
	body, err := json.Marshal(struct {
		Address netip.Addr `json:"address"`
		Host    string     `json:"host"`
		Status  string     `json:"status"`
	}{addr, c.host, status})
	if err != nil {
		return err
	}
	if err := check(ctx); err != nil {
		return err
	}
	err = c.caller.Call(ctx, opTell, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", c.userAgent)
		req.Header.Set(headerPrefix+"Resource-Id", addr.String())
		req.Header.Set(headerPrefix+"Timestamp", timestamp)
		req.Header.Set(headerPrefix+"Signature", sign(c.credentials.Values()[0], timestamp, body))
		resp, err := c.caller.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		// For the record of what went wrong; what a success says does not matter,
		// nor that it is cut short.
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			return nil
		}
		return err
	})
	return providers.NotTheAddress(err) // 404 is what its URL gives that is not there yet
}

// sign returns what the receiver of a request has to compute, too.
func sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

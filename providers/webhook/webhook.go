// Package webhook tells an HTTP server of the user's own that this host is to have
// an address. It is for clouds that berth does not know, where that server makes the
// calls.
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
// that is minutes old, as nothing else tells a request from its repetition. The
// receiver answers 2xx when the address points to the host, and any other status when
// it does not: berth then sends the request again, as it does every repeat-interval
// after a success. A redirect is not followed. The receiver cannot be asked which
// host has an address; its answer is believed.
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
var Entry = providers.NewEntry(decode, newClient, nil)

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

// keysIn returns the parts of a URL that may be keys: a long path or a query is often
// what keeps others from a receiver of webhooks. An answer that repeats one of them
// must not be shown. The URL was checked.
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
	*providers.Access
	url       string
	userAgent string
	claims    *providers.Claims
}

// newClient makes no calls.
func newClient(d providers.Deps, conf config) (providers.Provider, error) {
	if conf.url == "" {
		return nil, errors.New("webhook.url: missing; write the URL of a server of your own, such as https://hooks.example.net/berth")
	}
	hostname, err := d.Hostname()
	if err != nil {
		return nil, fmt.Errorf("webhook: read host name: %w", err) // each request has to name it
	}
	d.Hostname = func() (string, error) { return hostname, nil }
	access, err := providers.NewAccess(d, providers.AccessOptions{Provider: name, CAFile: conf.caFile, Timeout: timeout,
		Secrets: []providers.SecretKey{{Key: "secret", Inline: conf.secret, File: conf.secretFile, Env: secretEnv, Bytes: true}},
		Hidden:  keysIn(conf.url)})
	if err != nil {
		return nil, err
	}
	access.Endpoint = conf.url
	return &Client{Access: access, url: conf.url, userAgent: d.UserAgent, claims: providers.NewClaims(conf.repeat)}, nil
}

var _ providers.Releaser = (*Client)(nil)

// Observe makes no call: it tells that this host has the addresses of the claims that
// the server has accepted lately.
func (c *Client) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	return c.claims.Holders(addrs, c.Hostname), nil
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
	return providers.Server{ID: c.Hostname}, nil
}

func (c *Client) tell(ctx context.Context, addr netip.Addr, status string, check func(context.Context) error) error {
	body, err := json.Marshal(struct {
		Address netip.Addr `json:"address"`
		Host    string     `json:"host"`
		Status  string     `json:"status"`
	}{addr, c.Hostname, status})
	if err != nil {
		return err
	}
	if err := check(ctx); err != nil {
		return err
	}
	err = c.API.Call(ctx, opTell, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", c.userAgent)
		req.Header.Set(headerPrefix+"Resource-Id", addr.String())
		req.Header.Set(headerPrefix+"Timestamp", timestamp)
		req.Header.Set(headerPrefix+"Signature", sign(c.Credentials.Values()[0], timestamp, body))
		resp, err := c.API.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		// The body is read for the error text; that of a success does not matter, nor
		// that it is cut short.
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
			return nil
		}
		return err
	})
	return providers.NotTheAddress(err) // 404 is the answer of a URL that is not served yet
}

// sign returns the signature of a request; its receiver has to compute the same.
func sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

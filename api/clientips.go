package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"berth/ips"
)

// IPs returns the addresses that were added at run time to the member at the URL.
func (c *Client) IPs(ctx context.Context) ([]ips.Address, error) {
	var answer struct {
		IPs []ips.Address `json:"ips"`
	}
	err := c.call(ctx, http.MethodGet, "/ips", nil, &answer)
	return answer.IPs, err
}

// IP returns one of them. An id, here and below, is that of ips.ID or an address.
func (c *Client) IP(ctx context.Context, id string) (ips.Address, error) {
	var answer struct {
		IP ips.Address `json:"ip"`
	}
	err := c.one(ctx, http.MethodGet, id, "", nil, &answer)
	return answer.IP, err
}

// checksBody is what a client writes of the health checks of an address.
type checksBody struct {
	Checks              []ips.Check `json:"checks"`
	KeepaliveInterval   int         `json:"keepalive_interval"`
	HealthcheckInterval int         `json:"healthcheck_interval"`
}

func newChecksBody(s ips.Spec) checksBody {
	b := checksBody{Checks: s.Checks, KeepaliveInterval: s.KeepaliveInterval, HealthcheckInterval: s.HealthcheckInterval}
	if b.Checks == nil {
		b.Checks = []ips.Check{}
	}
	return b
}

// AddIP adds an address.
func (c *Client) AddIP(ctx context.Context, s ips.Spec) (added ips.Address, err error) {
	body := struct {
		IP string `json:"ip"`
		checksBody
	}{s.IP, newChecksBody(s)}
	err = c.call(ctx, http.MethodPost, "/ips", body, &added)
	return added, err
}

// SetChecks replaces the health checks and the intervals of an address by those of s.
func (c *Client) SetChecks(ctx context.Context, id string, s ips.Spec) error {
	return c.one(ctx, http.MethodPut, id, "", newChecksBody(s), nil)
}

// RemoveIP removes an address. It returns after the member has unbound it.
func (c *Client) RemoveIP(ctx context.Context, id string) error {
	return c.one(ctx, http.MethodDelete, id, "", nil, nil)
}

// LockIP has the member become the owner of an address that has none, and returns the
// address. If another member has the address, the error says which.
func (c *Client) LockIP(ctx context.Context, id string) (ips.Address, error) {
	if err := c.one(ctx, http.MethodPost, id, "/lock", nil, nil); err != nil {
		return ips.Address{}, err
	}
	a, err := c.await(ctx, id, func(a ips.Address) bool { return a.Owner != "" })
	switch {
	case err != nil, a.Status == ips.Activated:
		return a, err
	case a.Owner != "":
		return a, c.about(id, a.Owner+" has the address, and a lock takes it from no owner")
	}
	return a, c.about(id, fmt.Sprintf("no member has the address; on this one it is %s (%s)", a.Status, a.Reason))
}

// FailoverIP has another member become the owner of an address if this one is it, and
// else this one. It returns the address with its new owner.
func (c *Client) FailoverIP(ctx context.Context, id string) (ips.Address, error) {
	before, err := c.IP(ctx, id)
	if err != nil {
		return ips.Address{}, err
	}
	if err := c.one(ctx, http.MethodPost, id, "/failover", nil, nil); err != nil {
		return ips.Address{}, err
	}
	a, err := c.await(ctx, id, func(a ips.Address) bool { return a.Owner != "" && a.Owner != before.Owner })
	switch {
	case err != nil:
		return a, err
	case a.Owner == "":
		return a, c.about(id, "its owner gave the address up, and no member has it yet; berth ips show tells when one does")
	case a.Owner == before.Owner:
		return a, c.about(id, a.Owner+" has the address again")
	}
	return a, nil
}

const (
	// awaitTime is for how long the outcome of a request is awaited that the server has
	// carried out: what it knows of etcd comes a moment later.
	awaitTime  = 3 * time.Second
	awaitPause = 100 * time.Millisecond
)

// await asks for an address until it is as awaited, or awaitTime is over.
func (c *Client) await(ctx context.Context, id string, awaited func(ips.Address) bool) (ips.Address, error) {
	end := time.After(awaitTime)
	for {
		a, err := c.IP(ctx, id)
		if err != nil || awaited(a) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-end:
			return a, nil
		case <-time.After(awaitPause):
		}
	}
}

// pathOf returns the path of an address; known is false for a text that is the id of none.
func pathOf(id string) (path string, known bool) {
	a, err := ips.ParseID(id)
	if err != nil {
		return "/ips", false
	}
	return "/ips/" + url.PathEscape(ips.ID(a)), true
}

// about returns an error about an address that is not as a request was to make it.
func (c *Client) about(id, text string) error {
	path, _ := pathOf(id)
	return &Error{URL: c.base + path, Text: oneLine(text)}
}

// one makes a call about one address.
func (c *Client) one(ctx context.Context, method, id, action string, body, to any) error {
	path, known := pathOf(id)
	if !known {
		return &Error{URL: c.base + path, Text: fmt.Sprintf("%q cannot be the id of an address; ", oneLine(id)) + whichIDs, Err: ips.ErrUnknown}
	}
	err := c.call(ctx, method, path+action, body, to)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound && e.Text == ips.ErrUnknown.Error() {
		e.Text, e.Err = "there is no such address; "+whichIDs, ips.ErrUnknown
	}
	return err
}

const whichIDs = "berth ips list shows the ids of those that are"

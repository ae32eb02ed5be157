package hetzner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"berth/providers"
)

const (
	name = "hetzner"

	opList   = "list floating IPs"
	opAssign = "assign floating IP"
	opFree   = "unassign floating IP"
	opAction = "read action"
	opServer = "read own server"

	metadataPath = "/hetzner/v1/metadata/instance-id"

	// The API gives pages of 50 at most; no account has more pages than maxPages.
	perPage  = 50
	maxPages = 1000

	// An action is asked for 100 ms after it was accepted, then after twice as
	// long each time, up to 2 s.
	firstPoll   = 100 * time.Millisecond
	longestPoll = 2 * time.Second

	// The observation that follows a claim tells how an action ended, and needs a part
	// of the time that the claim has: after one question without an answer it is next.
	unanswered = 1
)

// Client is a providers.Provider.
type Client struct {
	*providers.Mover
	*providers.Access
	base      string
	userAgent string
}

// newClient makes no calls.
func newClient(d providers.Deps, conf config) (providers.Provider, error) {
	access, err := providers.NewAccess(d, providers.AccessOptions{Provider: name, CAFile: conf.caFile,
		Secrets: []providers.SecretKey{{Key: "token", Inline: conf.token, File: conf.tokenFile, Env: vendorTokenEnv}}})
	if err != nil {
		return nil, err
	}
	access.Endpoint = conf.endpoint
	c := &Client{Access: access, base: conf.endpoint, userAgent: d.UserAgent}
	configured := conf.serverID
	if configured != "" {
		configured, _ = parseID(configured) // decode has checked it
	}
	c.Mover = access.NewMover(providers.MoverOptions{
		Endpoint: conf.endpoint, Configured: configured, Metadata: metadataPath,
		ParseID: func(text []byte) (string, error) { return parseID(string(text)) },
		List:    c.list, OpList: opList,
		Point: c.point, OpPoint: opAssign, UnknownServer: http.StatusNotFound,
	})
	return c, nil
}

// Self asks the API for the server's name, which also shows that the server is
// one of the project.
func (c *Client) Self(ctx context.Context) (providers.Server, error) {
	id, _, err := c.Server.ID(ctx)
	if err != nil {
		return providers.Server{}, err
	}
	var answer struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
	}
	err = c.call(ctx, opServer, http.MethodGet, "/servers/"+id, nil, &answer, nil)
	return providers.Server{ID: id, Name: answer.Server.Name}, err
}

// floatingIP is what is needed of a floating IP.
type floatingIP struct {
	ID     int64  `json:"id"`
	IP     string `json:"ip"`
	Server *int64 `json:"server"`
}

// list reads all pages of the floating IPs of the project.
func (c *Client) list(ctx context.Context) (map[netip.Prefix]providers.Listed, error) {
	ips := map[netip.Prefix]providers.Listed{}
	for page := 1; page != 0; {
		var answer struct {
			List []floatingIP `json:"floating_ips"`
			Meta struct {
				Pagination struct {
					Next int `json:"next_page"`
				} `json:"pagination"`
			} `json:"meta"`
		}
		path := fmt.Sprintf("/floating_ips?page=%d&per_page=%d", page, perPage)
		err := c.call(ctx, opList, http.MethodGet, path, nil, &answer, func() error {
			if answer.List == nil {
				return errors.New("want a list of floating IPs, got none")
			}
			for _, ip := range answer.List {
				network, err := providers.ParseNetwork(ip.IP)
				if err != nil || ip.ID <= 0 {
					return fmt.Errorf("floating IP %d has no address", ip.ID)
				}
				l := providers.Listed{Key: strconv.FormatInt(ip.ID, 10)}
				if ip.Server != nil {
					l.Server = strconv.FormatInt(*ip.Server, 10)
				}
				ips[network] = l
			}
			if next := answer.Meta.Pagination.Next; next != 0 && (next <= page || next > maxPages) {
				return fmt.Errorf("page %d is said to follow page %d", next, page)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		page = answer.Meta.Pagination.Next
	}
	return ips, nil
}

// action is how far an assignment is.
type action struct {
	ID     int64  `json:"id"`
	Status string `json:"status"` // running, success or error
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// progress tells how far the action is. An answer without an action tells nothing.
func (a action) progress() providers.Progress {
	p := providers.Progress{Running: a.Status == "running" && a.ID > 0}
	if e := a.Error; a.Status == "error" && e != nil {
		p.Failed, p.Kind, p.Reason = true, providers.Transient, fmt.Sprintf("action failed: %s: %s", e.Code, e.Message)
	}
	p.Unknown = !p.Running && !p.Failed && a.Status != "success"
	return p
}

var _ providers.Releaser = (*Client)(nil)

// Release unassigns the floating IP, which points nowhere then. The API does not take
// the server from which it is to be taken: an assignment to another server between the
// list and the request is undone.
func (c *Client) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	return c.Unpoint(ctx, addr, check, opFree, func(ctx context.Context, key string) error {
		return c.act(ctx, opFree, "/floating_ips/"+key+"/actions/unassign", nil)
	})
}

// point assigns a floating IP.
func (c *Client) point(ctx context.Context, key, server string) error {
	return c.act(ctx, opAssign, "/floating_ips/"+key+"/actions/assign", []byte(`{"server":`+server+`}`))
}

// act begins an action and waits until it is over. How an action ended that cannot be
// asked for shows in the observation that follows a claim, or ends a release.
func (c *Client) act(ctx context.Context, op, path string, body []byte) error {
	var answer struct {
		Action action `json:"action"`
	}
	if err := c.call(ctx, op, http.MethodPost, path, body, &answer, nil); err != nil {
		return err
	}
	path = "/actions/" + strconv.FormatInt(answer.Action.ID, 10)
	err := c.API.Await(ctx, providers.Operation{Op: op, First: firstPoll, Longest: longestPoll, Unanswered: unanswered,
		Ask: func(ctx context.Context) (providers.Progress, error) {
			err := c.call(ctx, opAction, http.MethodGet, path, nil, &answer, nil)
			return answer.Action.progress(), err
		}}, answer.Action.progress())
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Op == op {
		return err
	}
	if err != nil && ctx.Err() != nil {
		return providers.EndedError(ctx, name, op)
	}
	return nil
}

// call makes one request and reads its JSON answer. check, which may be nil, says
// what is wrong with that.
func (c *Client) call(ctx context.Context, op, method, path string, body []byte, answer any, check func() error) error {
	return c.API.Call(ctx, op, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+c.Credentials.Values()[0])
		if c.userAgent != "" {
			req.Header.Set("User-Agent", c.userAgent)
		}
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := c.API.HTTPClient().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return errors.New("success was expected")
		}
		if err := json.Unmarshal(text, answer); err != nil || check == nil {
			return err
		}
		return check()
	})
}

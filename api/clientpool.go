package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"berth/pool"
)

// Pool is the pool of the berth at the URL, as pool.Client is that of an etcd.
func (c *Client) Pool() *PoolClient { return &PoolClient{c} }

// PoolClient asks for a pool through the API of a member.
type PoolClient struct{ client *Client }

// List is that of pool.Client.
func (p *PoolClient) List(ctx context.Context) (*pool.Overview, error) {
	var o pool.Overview
	if err := p.client.call(ctx, http.MethodGet, "/pool", nil, &o); err != nil {
		return nil, err
	}
	return &o, nil
}

// Add is that of pool.Client.
func (p *PoolClient) Add(ctx context.Context, texts []string) ([]pool.Change, error) {
	if err := pool.Valid(texts); err != nil {
		return nil, err
	}
	body := struct {
		Addresses []string `json:"addresses"`
	}{texts}
	var answer poolChanges
	err := p.client.call(ctx, http.MethodPost, "/pool/ips", body, &answer)
	return answer.Changes, err
}

// Remove is that of pool.Client. Each address is a call of its own.
func (p *PoolClient) Remove(ctx context.Context, texts []string) ([]pool.Change, error) {
	var changes []pool.Change
	var errs []error
	for _, text := range texts {
		var answer poolChanges
		err := p.client.call(ctx, http.MethodDelete, "/pool/ips/"+url.PathEscape(text), nil, &answer)
		changes = append(changes, answer.Changes...)
		if e, ok := errors.AsType[*Error](err); ok && e.Status == 0 { // it will not answer for the others either
			return changes, errors.Join(append(errs, err)...)
		}
		errs = append(errs, err)
	}
	return changes, errors.Join(errs...)
}

// Drain is that of pool.Client. The empty name is that of the member at the URL, which
// knows whether a member is its own.
func (p *PoolClient) Drain(ctx context.Context, member string, _, undo bool) (pool.Change, error) {
	if member == "" {
		var view struct {
			This string `json:"this"`
		}
		if err := p.client.call(ctx, http.MethodGet, "/cluster", nil, &view); err != nil {
			return pool.Change{}, err
		}
		member = view.This
	}
	method := http.MethodPut
	if undo {
		method = http.MethodDelete
	}
	var change pool.Change
	err := p.client.call(ctx, method, "/pool/drained/"+url.PathEscape(member), nil, &change)
	return change, err
}

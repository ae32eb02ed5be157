package cloudscale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"go.uber.org/zap"

	"berth/providers"
)

const (
	metadataURL  = "http://169.254.169.254"
	metadataPath = "/openstack/2017-02-22/meta_data.json"

	metadataTimeout = 5 * time.Second
	// verifyTimeout bounds how long the first look at the account may be held up
	// by making sure that a server id from the disk is still right.
	verifyTimeout = time.Second

	opMetadata = "read metadata"
)

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// askMetadata returns the id of this host from the metadata service. All errors
// are of the kind Transient: the service knows nothing that could be wrong.
func (c *Client) askMetadata(ctx context.Context) (string, error) {
	var id string
	err := c.metadata.Get(ctx, opMetadata, c.metadataURL, func(body io.Reader) error {
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		id, err = parseMetadata(b)
		return err
	})
	if e, ok := errors.AsType[*providers.Error](err); ok {
		e.Kind = providers.Transient
	}
	return id, err
}

// parseMetadata takes the API's UUID of the server out of OpenStack's metadata,
// whose own uuid means nothing to the API.
func parseMetadata(b []byte) (string, error) {
	var doc struct {
		Meta struct {
			UUID string `json:"cloudscale_uuid"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return "", err
	}
	if !uuidForm.MatchString(doc.Meta.UUID) {
		return "", errors.New("meta.cloudscale_uuid is no UUID: is this a server of cloudscale? Otherwise set server-uuid")
	}
	return doc.Meta.UUID, nil
}

// ownServer returns the id of this host from the configuration, memory or, if it
// is in neither, the metadata service. looked tells that the service was asked.
func (c *Client) ownServer(ctx context.Context) (id string, looked bool, err error) {
	c.mu.Lock()
	id = c.server
	c.mu.Unlock()
	if id != "" {
		return id, false, nil
	}
	id, err = c.learnServer(ctx)
	return id, true, err
}

// learnServer asks the metadata service and keeps the answer. Callers share one
// request.
func (c *Client) learnServer(ctx context.Context) (string, error) {
	id, err := c.asking.Do(ctx, struct{}{}, func(ctx context.Context) (string, error) {
		id, err := c.askMetadata(ctx)
		if err != nil {
			return "", err
		}
		c.mu.Lock()
		if c.server != "" && c.server != id {
			c.log.Warn("this host's server id has changed", zap.String("provider", name), zap.String("before", c.server), zap.String("now", id))
		}
		c.server, c.verified = id, true
		c.mu.Unlock()
		c.cache.Store(providers.IDs{Server: id})
		return id, nil
	})
	return id, asError(ctx, opMetadata, err)
}

// verifyServer makes sure, once in the life of the process, that an id from the
// disk is that of this host, if the service answers soon. If it does not, the id
// stands: that an outage of the service does not matter is what it is kept for.
func (c *Client) verifyServer(ctx context.Context) {
	c.mu.Lock()
	done := c.verified
	c.verified = true
	c.mu.Unlock()
	if done {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTimeout, fmt.Errorf("no answer within %s", verifyTimeout))
	defer cancel()
	if _, err := c.learnServer(ctx); err != nil {
		c.log.Debug("cached server id not verified", zap.String("provider", name), zap.Error(err))
	}
}

package exoscale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/providers"
)

const (
	metadataPath = "/latest/meta-data/"

	// verifyTimeout bounds how long the first look may be held up by making sure
	// that an id from the disk is still right.
	verifyTimeout = time.Second

	opMetadata = "read metadata"
)

// identity is what this host is to the API.
type identity struct {
	instance string // in lower case
	zone     string
}

// endpoint returns the URL of the API.
func (c *Client) endpoint(ctx context.Context) (string, error) {
	if c.base != "" {
		return c.base, nil
	}
	c.mu.Lock()
	zone := c.self.zone
	c.mu.Unlock()
	if zone == "" {
		self, err := c.learnSelf(ctx)
		if err != nil {
			return "", err
		}
		zone = self.zone
	}
	return zoneURL(zone), nil
}

// identity returns what is configured, in memory or, if something is missing, what
// the metadata service says. looked tells that it was asked.
func (c *Client) identity(ctx context.Context) (self identity, looked bool, err error) {
	c.mu.Lock()
	self = c.self
	c.mu.Unlock()
	if self.instance != "" && (self.zone != "" || c.base != "") {
		return self, false, nil
	}
	self, err = c.learnSelf(ctx)
	return self, true, err
}

// learnSelf asks the metadata service for what is not configured, and keeps the
// answers. Callers share the requests.
func (c *Client) learnSelf(ctx context.Context) (identity, error) {
	self, err := c.asking.Do(ctx, struct{}{}, func(ctx context.Context) (identity, error) {
		c.mu.Lock()
		self := c.self
		c.mu.Unlock()
		var instanceErr, zoneErr error
		var wg sync.WaitGroup
		if !c.fixed {
			wg.Go(func() { self.instance, instanceErr = c.askMetadata(ctx, "instance-id") })
		}
		if c.base == "" && self.zone == "" {
			wg.Go(func() { self.zone, zoneErr = c.askMetadata(ctx, "availability-zone") })
		}
		wg.Wait()
		if err := errors.Join(instanceErr, zoneErr); err != nil {
			return identity{}, err
		}
		c.mu.Lock()
		if c.self.instance != "" && c.self.instance != self.instance {
			c.log.Warn("this host's instance id has changed", zap.String("provider", name),
				zap.String("before", c.self.instance), zap.String("now", self.instance))
		}
		c.self, c.verified = self, true
		c.mu.Unlock()
		ids := providers.IDs{Zone: self.zone}
		if !c.fixed {
			ids.Server = self.instance
		}
		c.cache.Store(ids)
		return self, nil
	})
	return self, providers.SharedError(ctx, name, opMetadata, err)
}

// askMetadata returns one value of the metadata service or, if that does not know
// or answer, of the drive that instances without a public address have. All errors are of the kind
// Transient: the service knows nothing that could be wrong.
func (c *Client) askMetadata(ctx context.Context, what string) (string, error) {
	var value string
	err := c.metadata.Get(ctx, opMetadata, c.metadataURL+what, func(body io.Reader) error {
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		value, err = parseMetadata(what, string(b))
		return err
	})
	e, ok := errors.AsType[*providers.Error](err)
	if !ok {
		return value, nil
	}
	if value, driveErr := driveValue(c.drive, what); driveErr == nil {
		return value, nil
	} else if !errors.Is(driveErr, fs.ErrNotExist) {
		c.log.Debug("metadata drive is of no use", zap.String("provider", name), zap.Error(driveErr))
	}
	e.Kind = providers.Transient
	return "", err
}

// parseMetadata refuses what is not of the form that the value must have, such as
// the page of a web server.
func parseMetadata(what, text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	switch {
	case what == "instance-id" && !providers.IsUUID(text):
		return "", errors.New("instance-id is no UUID: is this an instance of Exoscale? Otherwise set instance-id")
	case what == "availability-zone" && !isZone(text):
		return "", errors.New("availability-zone is no zone: is this an instance of Exoscale? Otherwise set zone")
	}
	return text, nil
}

// verifySelf makes sure, once in the life of the process, that an id from the disk
// is that of this host, if the service answers soon. If it does not, the id stands:
// that an outage of the service does not matter is what it is kept for.
func (c *Client) verifySelf(ctx context.Context) {
	c.mu.Lock()
	done := c.verified
	c.verified = true
	c.mu.Unlock()
	if done {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTimeout, fmt.Errorf("no answer within %s", verifyTimeout))
	defer cancel()
	if _, err := c.learnSelf(ctx); err != nil {
		c.log.Debug("cached instance id not verified", zap.String("provider", name), zap.Error(err))
	}
}

package exoscale

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"go.uber.org/zap"

	"berth/providers"
)

const metadataPath = "/latest/meta-data/"

// identity is how the API knows this host.
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
// the metadata service says. asked tells that the service was asked.
func (c *Client) identity(ctx context.Context) (self identity, asked bool, err error) {
	c.mu.Lock()
	self = c.self
	c.mu.Unlock()
	if self.instance != "" && (self.zone != "" || c.base != "") {
		return self, false, nil
	}
	self, err = c.learnSelf(ctx)
	return self, true, err
}

// learnSelf asks the metadata service for what is not configured, and remembers the
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
		said := self.zone // the disk has what the service says, and no fallback
		if zoneErr != nil && c.fallback != "" {
			c.Journal.Tell(zoneAssumed, zap.String("zone", c.fallback), zap.Error(zoneErr))
			self.zone, zoneErr = c.fallback, nil
		}
		if err := errors.Join(instanceErr, zoneErr); err != nil {
			return identity{}, err
		}
		c.mu.Lock()
		if c.self.instance != "" && c.self.instance != self.instance {
			c.Journal.Tell(providers.ServerChanged, zap.String("before", c.self.instance), zap.String("now", self.instance))
		}
		c.self = self
		c.verified.Store(true)
		c.mu.Unlock()
		ids := providers.IDs{Zone: said}
		if !c.fixed {
			ids.Server = self.instance
		}
		c.cache.Store(ids)
		return self, nil
	})
	return self, providers.SharedError(ctx, name, providers.OpMetadata, err)
}

// askMetadata returns one value of the metadata service or, if the service does not
// answer or does not have the value, of the drive that instances without a public
// address have. All errors are of the kind Transient: a refusal of the service says
// nothing about the account.
func (c *Client) askMetadata(ctx context.Context, what string) (string, error) {
	value, err := c.AskMetadata(ctx, metadataPath+what, func(text []byte) (string, error) {
		return parseMetadata(what, string(text))
	})
	e, ok := errors.AsType[*providers.Error](err)
	if !ok {
		return value, nil
	}
	if value, driveErr := driveValue(c.drive, what); driveErr == nil {
		return value, nil
	} else if !errors.Is(driveErr, fs.ErrNotExist) {
		c.Journal.Debug("cannot read metadata drive", zap.Error(driveErr))
	}
	e.Kind = providers.Transient
	if e.Cause == nil {
		e.Cause = errors.New(cures[what])
	} else {
		e.Cause = fmt.Errorf("%w: %s", e.Cause, cures[what])
	}
	return "", err
}

// cures say what to do where the metadata service does not tell a value.
var cures = map[string]string{
	"instance-id":       "is this an instance of Exoscale? Otherwise set instance-id (berth exoip: -i)",
	"availability-zone": "is this an instance of Exoscale? Otherwise set zone (berth exoip: IF_EXOSCALE_ZONE)",
}

// parseMetadata refuses what is not of the form that the value must have, such as
// the page of a web server.
func parseMetadata(what, text string) (string, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	switch {
	case what == "instance-id" && !providers.IsUUID(text):
		return "", errors.New("instance-id is not a UUID")
	case what == "availability-zone" && !isZone(text):
		return "", errors.New("availability-zone is not a zone")
	}
	return text, nil
}

// verifySelf makes sure, once in the life of the process, that an id from the disk is
// that of this host; see providers.VerifySoon.
func (c *Client) verifySelf(ctx context.Context) {
	if c.verified.Swap(true) {
		return
	}
	providers.VerifySoon(ctx, c.Journal, func(ctx context.Context) error {
		_, err := c.learnSelf(ctx)
		return err
	})
}

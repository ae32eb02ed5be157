package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"berth/api"
	"berth/config"
	"berth/ips"
)

// APIOptions are the flags that say where an API is, and as which user to ask it.
type APIOptions struct {
	URL, Username, PasswordFile string
	CAFile, CertFile, KeyFile   string
}

// errDryAPI refuses a dry run of what a service carries out.
var errDryAPI = &UsageError{errors.New("--dry-run is not available for the commands of the API; berth ips list and show change nothing")}

// apiClient returns a client of the API that flags and environment name, or the one at
// otherwise. A flag counts before its variable.
func (o *Options) apiClient(a APIOptions, otherwise string) (*api.Client, error) {
	if o.DryRun {
		return nil, errDryAPI
	}
	access := api.Access{URL: cmp.Or(a.URL, o.Getenv("BERTH_API_URL"), otherwise), Username: cmp.Or(a.Username, o.Getenv("BERTH_API_USERNAME")),
		Password: o.Getenv("BERTH_API_PASSWORD"), CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile}
	if a.PasswordFile != "" {
		secret, err := config.ReadSecret(a.PasswordFile)
		if err != nil {
			return nil, &UsageError{fmt.Errorf("--password-file: %w", err)}
		}
		access.Password = secret.Reveal()
	}
	c, err := api.NewClient(access)
	if err != nil {
		return nil, &UsageError{err}
	}
	c.Warn(o.Journal())
	return c, nil
}

// withIPs calls do with a client for the addresses of a member.
func (o *Options) withIPs(a APIOptions, do func(c *api.Client) error) error {
	c, err := o.apiClient(a, api.DefaultURL)
	if err != nil {
		return err
	}
	return do(c)
}

// ListIPs prints the addresses that were added to a member.
func (o *Options) ListIPs(ctx context.Context, a APIOptions, asJSON bool) error {
	return o.withIPs(a, func(c *api.Client) error {
		all, err := c.IPs(ctx)
		switch {
		case err != nil:
			return err
		case asJSON:
			return o.printJSON(map[string]any{"ips": all})
		}
		return ips.Table(o.Stdout, all, time.Now())
	})
}

// ShowIP prints one of them.
func (o *Options) ShowIP(ctx context.Context, a APIOptions, id string, asJSON bool) error {
	return o.withIPs(a, func(c *api.Client) error {
		one, err := c.IP(ctx, id)
		switch {
		case err != nil:
			return err
		case asJSON:
			return o.printJSON(map[string]any{"ip": one})
		}
		return one.Print(o.Stdout, time.Now())
	})
}

func (o *Options) printJSON(value any) error {
	enc := json.NewEncoder(o.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// IPChecks are the flags of the health checks of an address.
type IPChecks struct {
	Checks                                 []string // TCP:HOST:PORT
	HealthcheckInterval, KeepaliveInterval int      // in seconds, 0 for the default
}

// spec returns what the flags say, without an address.
func (f IPChecks) spec() (ips.Spec, error) {
	s := ips.Spec{HealthcheckInterval: f.HealthcheckInterval, KeepaliveInterval: f.KeepaliveInterval}
	for _, text := range f.Checks {
		check, err := ips.ParseCheck(text)
		if err != nil {
			return s, &UsageError{fmt.Errorf("--check %s: %w", text, err)}
		}
		s.Checks = append(s.Checks, check)
	}
	if err := (ips.Change{Checks: &s.Checks, KeepaliveInterval: &s.KeepaliveInterval, HealthcheckInterval: &s.HealthcheckInterval}).Valid(); err != nil {
		return s, &UsageError{err}
	}
	return s, nil
}

// AddIPs adds addresses, each with these checks. After an error the others are added.
func (o *Options) AddIPs(ctx context.Context, a APIOptions, texts []string, f IPChecks) error {
	s, err := f.spec()
	if err != nil {
		return err
	}
	var specs []ips.Spec
	for _, s.IP = range texts {
		if _, err := s.Parse(); err != nil {
			return &UsageError{fmt.Errorf("%q: %w", s.IP, err)}
		}
		specs = append(specs, s)
	}
	return o.withIPs(a, func(c *api.Client) error {
		var errs []error
		for _, s := range specs {
			added, err := c.AddIP(ctx, s)
			if err != nil {
				errs = append(errs, fmt.Errorf("add %s: %w", s.IP, err))
				continue
			}
			fmt.Fprintf(o.Stdout, "%s: added\n", added.ID)
		}
		return errors.Join(errs...)
	})
}

// SetIPChecks replaces the checks and intervals of an address.
func (o *Options) SetIPChecks(ctx context.Context, a APIOptions, id string, f IPChecks) error {
	s, err := f.spec()
	if err != nil {
		return err
	}
	return o.withIPs(a, func(c *api.Client) error {
		if err := c.SetChecks(ctx, id, s); err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "%s: health checks: %d\n", id, len(s.Checks))
		return nil
	})
}

// RemoveIP removes an address, and returns when the member has unbound it.
func (o *Options) RemoveIP(ctx context.Context, a APIOptions, id string) error {
	return o.withIPs(a, func(c *api.Client) error {
		if err := c.RemoveIP(ctx, id); err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "%s: removed\n", id)
		return nil
	})
}

// LockIP has a member become the owner of an address that has none. The error says who
// has the address if that is not the member.
func (o *Options) LockIP(ctx context.Context, a APIOptions, id string) error {
	return o.moveIP(ctx, a, id, (*api.Client).LockIP)
}

// FailoverIP has an address moved, and prints the new owner.
func (o *Options) FailoverIP(ctx context.Context, a APIOptions, id string) error {
	return o.moveIP(ctx, a, id, (*api.Client).FailoverIP)
}

func (o *Options) moveIP(ctx context.Context, a APIOptions, id string, move func(*api.Client, context.Context, string) (ips.Address, error)) error {
	return o.withIPs(a, func(c *api.Client) error {
		now, err := move(c, ctx, id)
		if err == nil {
			fmt.Fprintf(o.Stdout, "%s: %s is the owner\n", now.ID, now.Owner)
		}
		return err
	})
}

package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/journal"
	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/providers"
	"berth/vrrp"
)

// ShowOptions are the flags of `berth show`.
type ShowOptions struct {
	Instance         string // empty: all
	JSON             bool
	Offline          bool // do not ask the provider
	AssumeInterfaces bool // every interface that the file names counts as existing
}

type shown struct {
	Instances []shownInstance          `json:"instances"`
	Refused   bool                     `json:"refused"`
	Refusals  []keepalivedconf.Message `json:"refusals,omitempty"`
	Warnings  []keepalivedconf.Message `json:"warnings"`
}

type shownInstance struct {
	Name        string            `json:"name"`
	Interface   string            `json:"interface"`
	Addresses   []string          `json:"addresses"`
	Excluded    []string          `json:"excluded"`
	Managed     []string          `json:"managed"`
	Immovable   []shownImmovable  `json:"immovable,omitempty"`
	FloatingIPs []shownFloatingIP `json:"floating_ips,omitempty"`
	Member      string            `json:"member,omitempty"`         // that owns it in etcd
	Doubled     bool              `json:"doubled_member,omitempty"` // two hosts have that name
}

// shownImmovable is an address that no provider can move.
type shownImmovable struct {
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// immovableOf returns those addresses that no provider can move.
func immovableOf(ips []vrrp.FloatingIP) []shownImmovable {
	var all []shownImmovable
	for _, ip := range ips {
		if why := ip.Immovable(); why != "" {
			all = append(all, shownImmovable{ip.String(), why})
		}
	}
	return all
}

type shownFloatingIP struct {
	Address string `json:"address"`
	Object  string `json:"object,omitempty"`
	Owner   string `json:"owner"`
}

// errRefused makes `berth show` end with 1 where keepalived would not run the
// file; the reason has been printed.
var errRefused = errors.New("keepalived would refuse this configuration")

// showTimeout bounds the questions to the provider.
const showTimeout = 30 * time.Second

// Show prints what would be managed and why.
func (o *Options) Show(ctx context.Context, configPath string, so ShowOptions) error {
	cfg, err := o.load(configPath)
	if err != nil {
		return err
	}
	out := shown{Instances: []shownInstance{}, Warnings: []keepalivedconf.Message{}}
	if len(cfg.Election.Instances) > 0 {
		err = out.elected(cfg, so.Instance)
	} else {
		err = o.readKeepalived(cfg, so, &out)
	}
	if err != nil {
		return err
	}
	var etcdErr, providerErr error
	if !so.Offline && (cfg.Fencing.Enabled || len(cfg.Election.Instances) > 0) {
		etcdErr = o.askOwners(ctx, cfg, &out)
	}
	if !so.Offline && cfg.Pointing(o.DryRun) == config.Call {
		p, err := o.newProvider(cfg, "", nil, o.Logger())
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, showTimeout)
		defer cancel()
		providerErr = out.ask(ctx, p)
	}
	if so.JSON {
		enc := json.NewEncoder(o.Stdout)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(out)
	} else {
		err = out.table(o.Stdout)
	}
	if err == nil && out.Refused {
		err = errRefused
	}
	return errors.Join(err, etcdErr, providerErr)
}

// readKeepalived fills in what keepalived's configuration has.
func (o *Options) readKeepalived(cfg *config.Config, so ShowOptions, out *shown) error {
	ko := readingOptions(cfg, "", journal.New(o.Logger()))
	if !so.AssumeInterfaces {
		conf, err := keepalivedconf.ParseFile(cfg.KeepalivedConfig, ko)
		if err != nil {
			return err
		}
		ko.Interfaces = interfaces(cfg, conf)
	}
	conf, err := keepalivedconf.ParseFile(cfg.KeepalivedConfig, ko)
	if err != nil {
		return err
	}
	out.Refused, out.Refusals = conf.Refused, conf.Refusals
	out.Warnings = append(out.Warnings, conf.Warnings...)
	for _, in := range conf.Instances {
		if so.Instance != "" && in.Name != so.Instance {
			continue
		}
		managed := in.Managed()
		if len(cfg.ManagedAddresses) > 0 {
			managed = cfg.ManagedAddresses
		}
		out.Instances = append(out.Instances, shownInstance{
			Name: in.Name, Interface: in.Interface,
			Addresses: texts(in.Addresses), Excluded: texts(in.Excluded), Managed: texts(movable(managed)), Immovable: immovableOf(managed),
		})
	}
	if so.Instance != "" && len(out.Instances) == 0 {
		return fmt.Errorf("vrrp_instance %q: %w %s", so.Instance, reading.ErrUnknown, cfg.KeepalivedConfig)
	}
	return nil
}

// elected fills in what the configuration has elections for.
func (s *shown) elected(cfg *config.Config, instance string) error {
	for _, in := range cfg.Election.Instances {
		if instance != "" && in.Name != instance {
			continue
		}
		s.Instances = append(s.Instances, shownInstance{
			Name: in.Name, Interface: in.Interface, Addresses: texts(in.Addresses), Excluded: []string{},
			Managed: texts(movable(in.Addresses)), Immovable: immovableOf(in.Addresses),
		})
	}
	if instance != "" && len(s.Instances) == 0 {
		return fmt.Errorf("%s: election.instances has no %q", cfg.Path, instance)
	}
	return nil
}

// askOwners fills in who owns the instances in etcd.
func (o *Options) askOwners(ctx context.Context, cfg *config.Config, out *shown) error {
	etcd, err := o.newEtcd(cfg, "", o.Logger())
	if err != nil {
		return err
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.LockTimeout, election.ErrNoAnswer)
	defer cancel()
	owners, err := etcd.Owners(ctx, cfg.Etcd.Prefix)
	for i := range out.Instances {
		owner := owners[out.Instances[i].Name]
		out.Instances[i].Member, out.Instances[i].Doubled = owner.Member, owner.Doubled
	}
	return err
}

func texts(ips []vrrp.FloatingIP) []string {
	list := make([]string, 0, len(ips))
	for _, ip := range ips {
		list = append(list, ip.String())
	}
	return list
}

// ask fills in who has the managed addresses at the provider.
func (s *shown) ask(ctx context.Context, p providers.Provider) error {
	var addrs []netip.Addr
	for _, in := range s.Instances {
		for _, text := range in.Managed {
			addrs = append(addrs, addrOf(text))
		}
	}
	if len(addrs) == 0 {
		return nil
	}
	holders, err := p.Observe(ctx, addrs)
	if err != nil {
		return err
	}
	for i := range s.Instances {
		in := &s.Instances[i]
		for _, text := range in.Managed {
			h := holders[addrOf(text)]
			in.FloatingIPs = append(in.FloatingIPs, shownFloatingIP{Address: text, Object: h.Object, Owner: holderText(h)})
		}
	}
	return nil
}

func addrOf(prefix string) netip.Addr {
	return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(prefix)}.Addr()
}

// movable returns those addresses that a provider may move.
func movable(ips []vrrp.FloatingIP) []vrrp.FloatingIP {
	return slices.DeleteFunc(slices.Clone(ips), func(ip vrrp.FloatingIP) bool { return ip.Immovable() != "" })
}

// holderText says who has a floating IP.
func holderText(h providers.Holder) string {
	switch h.Kind {
	case providers.NotManaged:
		return "no floating IP of the account"
	case providers.Nobody:
		return "nobody"
	case providers.Mine:
		return "this host"
	}
	return h.Owner
}

func (s *shown) table(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "INSTANCE\tINTERFACE\tADDRESS\tFLOATING IP\tOWNER"+s.memberColumn("MEMBER"))
	for _, in := range s.Instances {
		if len(in.Managed)+len(in.Immovable) == 0 {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s%s\n", in.Name, dash(in.Interface), "none", "-", "-", s.memberColumn(in.owner()))
		}
		for i, address := range in.Managed {
			object, owner := "-", "-"
			if i < len(in.FloatingIPs) {
				object, owner = dash(in.FloatingIPs[i].Object), in.FloatingIPs[i].Owner
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s%s\n", in.Name, dash(in.Interface), address, object, owner, s.memberColumn(in.owner()))
		}
		for _, a := range in.Immovable {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s%s\n", in.Name, dash(in.Interface), a.Address, "-", "never moved: "+a.Reason, s.memberColumn(in.owner()))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, m := range s.Warnings {
		fmt.Fprintf(w, "warning: %s:%d: %s\n", m.File, m.Line, m.Message)
	}
	for _, m := range s.Refusals {
		fmt.Fprintf(w, "refused: %s:%d: %s\n", m.File, m.Line, m.Message)
	}
	return nil
}

// owner is the member that owns the instance.
func (in *shownInstance) owner() string {
	if in.Doubled {
		return in.Member + " (two hosts have this name)"
	}
	return dash(in.Member)
}

// memberColumn is a column of its own where etcd names the owner of anything.
func (s *shown) memberColumn(text string) string {
	for _, in := range s.Instances {
		if in.Member != "" {
			return "\t" + text
		}
	}
	return ""
}

func dash(s string) string {
	if strings.TrimSpace(s) == "" {
		return "-"
	}
	return s
}

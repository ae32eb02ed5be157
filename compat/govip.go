package compat

import (
	"fmt"
	"net/netip"
	"strings"

	"berth/config"
)

// GovipFlags are the flags of govip, in the order of its help, with its defaults.
var GovipFlags = []Flag{
	{Name: "cacert", Value: "FILE", Usage: "authority of etcd's certificates; empty with -cert and -key empty too: no TLS", Default: "ca.crt"},
	{Name: "cert", Value: "FILE", Usage: "certificate with which govip comes to etcd", Default: "server.crt"},
	{Name: "etcd", Value: "URLS", Usage: "members of etcd, with commas between them", Default: "https://127.0.0.1:2379"},
	{Name: "key", Value: "FILE", Usage: "key of the certificate", Default: "server.key"},
	{Name: "member", Value: "NAME", Usage: "name of this govip, another on each host; without it the name of the host"},
	{Name: "name", Value: "NAME", Usage: "where in etcd the govips of one address stand, the same on all hosts", Default: "/govip/"},
	{Name: "vif", Value: "INTERFACE", Usage: "interface that gets the address", Default: "eth0"},
	{Name: "vip", Value: "ADDRESS/LENGTH", Usage: "the address", Default: "192.168.0.254/32"},
}

// govipInstance is the name of the one instance, in status and log.
const govipInstance = "govip"

// Govip translates a command line of govip. o has what else a configuration depends on. The
// error is flag.ErrHelp, ErrVersion, or joins one *config.Problem for each mistake.
func Govip(args []string, o config.Options) (*Translation, error) {
	s, err := readCommandLine(args, GovipFlags, func(string) string { return "" })
	if err != nil {
		return nil, err
	}
	g := &govipFlags{newCommandLine(s, GovipFlags, "")}
	file := newBlock()
	g.etcd(file.block("etcd"))
	g.election(file.block("election"))
	file.text("provider", "none")
	if g.t.Text, err = encode(file); err != nil {
		return nil, fmt.Errorf("translate the command line: %w", err)
	}
	if err := g.t.read(g.problems, o); err != nil {
		return nil, err
	}
	return g.t, nil
}

// govipFlags is a command line of govip under translation.
type govipFlags struct{ *draft }

func (g *govipFlags) etcd(to block) {
	if g.endpoints(to) {
		g.copy(to, "etcd", "ca-file", "-cacert")
		g.copy(to, "etcd", "cert-file", "-cert")
		g.copy(to, "etcd", "key-file", "-key")
		for berths, want := range map[string]string{"cert-file": "the certificate of -key", "key-file": "the key of -cert"} {
			from := g.t.origins["etcd."+berths]
			from.want = want + ", or -cacert= -cert= -key= for etcd without TLS"
			g.t.origins["etcd."+berths] = from
		}
	}
	g.made("etcd.prefix", "-name")
	to.text("prefix", g.prefix())
	g.copy(to, "etcd", "member", "-member")
}

// endpoints writes the list, and reports whether certificates belong to it. A member
// without a scheme is one with TLS, unless all three files are empty. govip sent its
// requests in clear text to a member with http://, whatever files it had.
func (g *govipFlags) endpoints(to block) (secure bool) {
	const key = "-etcd"
	g.made("etcd.endpoints", key)
	secure = g.text("-cacert") != "" || g.text("-cert") != "" || g.text("-key") != ""
	var all []string
	plain := false
	for part := range strings.SplitSeq(g.text(key), ",") {
		switch part = strings.TrimSpace(part); {
		case part == "":
			continue
		case !strings.Contains(part, "://") && secure:
			part = "https://" + part
		case !strings.Contains(part, "://"):
			part = "http://" + part
		}
		plain = plain || strings.HasPrefix(part, "http://")
		all = append(all, part)
	}
	switch {
	case len(all) == 0:
		g.refuse(key, "", "the URLs of the etcd members, such as https://192.0.2.1:2379,https://192.0.2.2:2379")
	case plain && secure:
		g.refuse(key, "http:// beside certificates", "https://, or -cacert= -cert= -key= for etcd without TLS")
		secure = false
	}
	to.list("endpoints", all)
	return secure
}

// prefix returns the prefix of what berth writes beside the candidates: near them, so that
// an etcd user who may use the keys of -name may use these too, and not below the keys of the
// candidates, which end where -name and one more slash end.
func (g *govipFlags) prefix() string {
	name := g.text("-name")
	if strings.HasSuffix(name, "/") {
		name += "berth/"
	} else {
		name += "-berth/"
	}
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return name
}

func (g *govipFlags) election(to block) {
	g.made("election.interface", "-vif")
	if g.text("-vif") == "" {
		g.refuse("-vif", "", "the name of the network interface that gets the address, such as eth0")
	}
	to.text("interface", g.text("-vif"))
	to.text("on-etcd-loss", config.Free)
	to.text("without-etcd", config.Exit)
	in := to.item("instances")
	in.text("name", govipInstance)
	for _, key := range []string{"key", "addresses"} {
		g.made("election.instances, number 1, "+key, map[string]string{"key": "-name", "addresses": "-vip"}[key])
	}
	if g.text("-name") == "" {
		g.refuse("-name", "", "a name that all govips of this address have, such as /govip/")
	}
	in.text("key", g.text("-name"))
	in.list("addresses", g.addresses())
}

// addresses returns -vip without the label that may stand behind it, see netlink.ParseAddr
// (https://pkg.go.dev/github.com/vishvananda/netlink#ParseAddr).
func (g *govipFlags) addresses() []string {
	const key = "-vip"
	text, label, _ := strings.Cut(g.text(key), " ")
	if _, err := netip.ParsePrefix(text); err != nil {
		want := "an address and the length of its prefix, such as 192.168.0.254/32 or 2001:db8::254/128"
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			want = netip.PrefixFrom(a, a.BitLen()).String()
		}
		g.refuse(key, "", want)
		return nil
	}
	if label != "" {
		g.note(note{kind: labelUnused}, key)
	}
	return []string{text}
}

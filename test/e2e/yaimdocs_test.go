package e2e_test

import (
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// elsewhere returns commands with etcd at another place.
func elsewhere(blocks []string, endpoint string) []string {
	for i, b := range blocks {
		blocks[i] = strings.ReplaceAll(b, "http://192.168.0.34:2379", endpoint)
	}
	return blocks
}

// The commands of the documentation, against an etcd: each block is run as it stands, up to
// a line, and etcd is asked after it.
func TestYaimDocumentedCommands(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "etcdctl", "curl")
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	blocks := elsewhere(documented(t, "yaim"), c.Endpoints()[0])
	keys := func() string {
		out, err := exec.Command("env", "ETCDCTL_API=3", "etcdctl", "--endpoints", c.Endpoints()[0], "get", "--prefix", "--keys-only", "/").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Join(strings.Fields(string(out)), " ")
	}
	run := func(lines []string) {
		t.Helper()
		if out, err := exec.Command("bash", "-eu", "-o", "pipefail", "-c", strings.Join(lines, "\n")).CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v: %s", strings.Join(lines, "\n"), err, out)
		}
	}
	etcdctl, gateway := strings.Split(blocks[0], "\n"), strings.Split(blocks[1], "\n")
	const v4, v6, third = "/service/yaim/ips/123.0.0.1", "/service/yaim/ips/2001:db8::1", "/service/yaim/ips/123.0.0.2"
	for _, step := range []struct {
		lines []string
		want  string
	}{
		{etcdctl[:3], v4 + " " + v6},
		{append(etcdctl[:1:1], etcdctl[3:]...), v4},
		{gateway[:2], v4 + " " + third},
		{append(gateway[:1:1], gateway[2:]...), v4},
	} {
		if run(step.lines); keys() != step.want {
			t.Errorf("after\n%s\nwant the keys %s, got %s", strings.Join(step.lines, "\n"), step.want, keys())
		}
	}
}

// etcd_user and etcd_password are "credentials to a user that may read and write within
// the dcs-namespace/dcs-clustername directory", and nothing else. This etcd takes no client
// without a certificate.
func TestYaimUserMayTouchItsDirectoryAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, etcdtest.Options{TLS: true})
	node, password := c.nodes[0], "UpiU178oURwaK4RQ7Gw"
	commands := strings.ReplaceAll(elsewhere(documented(t, "yaim"), c.endpoint())[0], "PASSWORD", password)
	for _, script := range []string{commands, "etcdctl user add root:" + password + "\netcdctl user grant-role root root\netcdctl auth enable\n"} {
		out, err := c.router.Run(t.Context(), "/bin/bash", "-euc", "export "+strings.Join(c.operator(), " ")+"\n"+script)
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
	}
	address := netip.MustParseAddr("10.78.0.201")
	cert, key, err := c.etcd.ClientCertificate("node1", time.Hour)
	c.must(err)
	c.must(install(node.Node, filepath.Dir(cert)))
	node.configure("interface: " + lab.Link + "\ndcs-endpoints: " + c.endpoint() + "\netcd_user: yaim\netcd_password: " + password +
		"\netcd-ca-file: " + c.etcd.CAFile() + "\netcd-cert-file: " + cert + "\netcd-key-file: " + key + "\n")
	node.start()
	c.etcdctl("--user", "yaim:"+password, "put", yaimPrefix+"ips/"+address.String(), "")
	c.even([]netip.Addr{address}, node)
	c.etcdctl("--user", "yaim:"+password, "del", yaimPrefix+"ips/"+address.String())
	c.none([]netip.Addr{address})
	if all, own := c.etcdctl("--user", "root:"+password, "get", "--prefix", "--keys-only", ""), c.etcdctl("--user", "yaim:"+password, "get", "--prefix", "--keys-only", yaimPrefix); all != own {
		t.Errorf("want no key outside of %s, got\n%s", yaimPrefix, all)
	}
	if err := node.berth.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, line := range node.berth.Log.Lines() {
		if strings.Contains(line.Text, password) {
			t.Errorf("the password is in the log: %s", line.Text)
		}
		if strings.Contains(line.Text, "etcdserver: permission denied") {
			t.Errorf("berth did what its user may not: %s", line.Text)
		}
	}
}

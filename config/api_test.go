package config_test

import (
	"fmt"
	"testing"

	"berth/config"

	"github.com/google/go-cmp/cmp"
)

func TestAPI(t *testing.T) {
	c, err := parse(`api:
  listen: "[::]:1313"
  username: admin
  password-file: /p
  tls-cert-file: /c
  tls-key-file: /k
  server-names: [lb.example.com, LB_1.]
`)
	if err != nil {
		t.Fatal(err)
	}
	want := config.API{Listen: "[::]:1313", Username: "admin", PasswordFile: "/p", TLSCertFile: "/c", TLSKeyFile: "/k", ServerNames: []string{"lb.example.com", "LB_1."}}
	if diff := cmp.Diff(want, c.API); diff != "" {
		t.Errorf("api (-want +got):\n%s", diff)
	}
	if c, err = parse("api: {username: u, password: 5up3rS3cret}\n"); err != nil || c.API.Password.Reveal() != "5up3rS3cret" {
		t.Errorf("got the password %q, %v", c.API.Password.Reveal(), err)
	}
}

// Without credentials only this host may reach the API.
func TestAPIWithoutCredentialsIsForLoopbackAlone(t *testing.T) {
	for listen, loopback := range map[string]bool{
		"127.0.0.1:1313": true, "127.8.0.1:1": true, "[::1]:1313": true, "[::ffff:127.0.0.1]:1313": true, "localhost:1313": true, "LocalHost:1313": true,
		":1313": false, "0.0.0.0:1313": false, "[::]:1313": false, "192.0.2.1:1313": false, "[fe80::1%eth0]:1313": false,
		"localhost.example.com:1313": false, "lb1:1313": false, "127.1:1313": false, "2130706433:1313": false,
	} {
		_, err := parse(fmt.Sprintf("api: {listen: %q}\n", listen))
		want := "<nil>"
		if !loopback {
			want = "berth.yml:1: api.listen: found an address that other hosts can reach, without username and password; write a loopback address such as 127.0.0.1:1313, or username and password-file as well"
		}
		if got := fmt.Sprint(err); got != want {
			t.Errorf("%s: want %q, got %q", listen, want, got)
		}
		if _, err := parse(fmt.Sprintf("api: {listen: %q, username: u}\n", listen)); err != nil {
			t.Errorf("%s with a user: %v", listen, err)
		}
	}
}

func TestMistakesInAPI(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"unknown key", "api: {port: 1313}\n", `berth.yml:1: api: unknown key "port"; known are listen, password, password-file, server-names, tls-cert-file, tls-key-file, username`},
		{"no port", "api: {listen: 127.0.0.1}\n", "berth.yml:1: api.listen: found a text of 9 characters; write an address and a port, such as 127.0.0.1:1313"},
		{"port that does not exist", "api: {listen: \"127.0.0.1:70000\"}\n", "berth.yml:1: api.listen: found a text of 15 characters; write an address and a port, such as 127.0.0.1:1313"},
		{"password without user", "api: {listen: \":1313\", password-file: /p}\n", "berth.yml:1: api.username: missing; write the name of the user whose password is given"},
		{"empty user", "api:\n  listen: \":1313\"\n  username: \"\"\n  password: x\n", "berth.yml:1: api.username: missing; write the name of the user whose password is given"},
		{"two passwords", "api: {username: u, password: x, password-file: /p}\n", "berth.yml:1: api.password-file: found beside api.password; write one of the two"},
		{"user with a colon", "api: {username: \"u:5up3rS3cret\"}\n", "berth.yml:1: api.username: found a name with a colon or a control character; write a name without these, such as admin"},
		{"certificate without key", "api: {tls-cert-file: /c}\n", "berth.yml:1: api.tls-key-file: missing; write the path of the key of tls-cert-file"},
		{"key without certificate", "api: {tls-key-file: /k}\n", "berth.yml:1: api.tls-cert-file: missing; write the path of the certificate of tls-key-file"},
		{"text as a file", "api: {username: u, password-file: 5up3rS3cret}\n", "berth.yml:1: api.password-file: found a text of 11 characters; write a path such as /etc/berth/api-password"},
		{"URL as a name", "api: {server-names: [lb1, \"https://lb1\"]}\n", "berth.yml:1: api.server-names, number 2: found a text of 11 characters; write the name of a host, such as lb1.example.com, without scheme and port"},
		{"name with a port", "api: {server-names: [\"lb1:1313\"]}\n", "berth.yml:1: api.server-names, number 1: found a text of 8 characters; write the name of a host, such as lb1.example.com, without scheme and port"},
		{"interface for addresses that are added", etcdOf("5s") + "api: {listen: \"127.0.0.1:1313\"}\nprovider: cloudscale\ncloudscale: {token: x}\nelection: {on-etcd-loss: claim}\n",
			"berth.yml:5: election.interface: missing; write the name of the network interface that gets the addresses, such as eth0"},
		{"nothing to add where Patroni decides", leads("role: leader") + "api: {listen: \"127.0.0.1:1313\"}\nelection: {interface: eth0}\n",
			"berth.yml:3: election.instances: missing; write some, such as [{name: api, addresses: [192.0.2.254]}]"},
	} {
		if _, err := parse(row.text); err == nil || err.Error() != row.want {
			t.Errorf("%s: want %q, got %v", row.name, row.want, err)
		}
	}
}

// Where addresses can be added, an election may begin with none.
func TestElectionWithoutInstancesBesideAnAPI(t *testing.T) {
	const api, election = "api: {listen: \"127.0.0.1:1313\"}\n", "election: {interface: eth0}\n"
	c, err := parse(etcdOf("5s") + api + election)
	if err != nil || !c.Elects() || !c.NeedsEtcd() || c.Pointing(false) != config.Nothing {
		t.Errorf("want an election, got %v", err)
	}
	if c, err = parse(api); err != nil || c.Elects() || c.NeedsEtcd() {
		t.Errorf("an API alone: want no election, got %v", err)
	}
	if _, err = parse(api + election); err == nil {
		t.Error("want that the election needs etcd")
	}
}

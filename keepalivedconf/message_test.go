package keepalivedconf_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"berth/keepalivedconf"
)

// TestMessages shows, for each trap of the file format, the message that
// tells of it: its file, its line, and the cure.
func TestMessages(t *testing.T) {
	instance := func(words, address string) string {
		return "vrrp_instance A {\n  interface eth0\n  virtual_router_id 1\n  unicast_peer { 192.0.2.2 }\n  " + words + "\n  virtual_ipaddress {\n    " + address + "\n  }\n}\n"
	}
	tests := []struct {
		name  string
		files []string
		want  string // "file:line: text"
	}{
		{"address skipped", []string{"k", instance("", "192.0.2.300/24")},
			"k:7: 192.0.2.300/24 is skipped, because it is not an address; write it out in full, as in 192.0.2.1/24 or 2001:db8::1/64"},
		{"whole line dropped for a device given twice", []string{"k", instance("", "192.0.2.1/24 dev eth0 dev eth1")},
			"k:7: address 192.0.2.1/24 is dropped, because it has two dev; remove one"},
		{"whole line dropped for a missing value", []string{"k", instance("", "192.0.2.1/24 dev")},
			"k:7: address 192.0.2.1/24 is dropped, because dev lacks its value; add it"},
		{"length too great", []string{"k", instance("", "192.0.2.1/33")},
			"k:7: length /33 of address 192.0.2.1 is taken as /32; write a number from 0 to 32"},
		{"length with letters", []string{"k", instance("", "192.0.2.1/24x")},
			"k:7: length /24x of address 192.0.2.1 is taken as /24; write a plain number"},
		{"length of nothing", []string{"k", instance("", "192.0.2.1/ 24")},
			"k:7: length / of address 192.0.2.1 is taken as /0; write a plain number"},
		{"length with a peer", []string{"k", instance("", "192.0.2.1/24 peer 192.0.2.2")},
			"k:7: address 192.0.2.1/24 is taken as /32, because it has a peer; leave out its length"},
		{"family mismatch", []string{"k", instance("", "2001:db8::1/64")},
			"k:7: address 2001:db8::1/64 is dropped, because the instance is IPv4; move it to virtual_ipaddress_excluded or an instance of its own"},
		{"two addresses on a line", []string{"k", instance("", "192.0.2.1/24 192.0.2.2/24")},
			"k:7: a line has one address: 192.0.2.2/24 after 192.0.2.1/24 is ignored; put it on a line of its own"},
		{"second block of the same name", []string{"k", instance("", "192.0.2.1") + "vrrp_instance A {\n}\n"},
			"k:10: vrrp_instance A exists already in line 1, so this whole block is skipped; rename it or merge the two"},
		{"unknown block ends the instance", []string{"k", instance("no_such { x }", "192.0.2.1")},
			"k:5: the block of the unknown word no_such has a } which ends vrrp_instance A there, so that what follows is lost; remove the block"},
		{"misspelt word", []string{"k", instance("prioritty 5", "192.0.2.1")},
			"k:5: prioritty is unknown in vrrp_instance A and ignored; check the spelling, the place and the keepalived version"},
		{"virtual_server hides an instance", []string{"k", "virtual_server 192.0.2.9 80 {\n  real_server 192.0.2.8 80 {\n}\n" + instance("", "192.0.2.1")},
			"k:4: this vrrp_instance does not exist for keepalived, because it is inside the block of virtual_server in line 1; close that block before it"},
		{"virtual_server never closed", []string{"k", instance("", "192.0.2.1") + "virtual_server 192.0.2.9 80 {\n"},
			"k:10: the block of virtual_server is never closed: everything after it is skipped; add the missing }"},
		{"include that matches nothing", []string{"k", "include sub/*.conf\n" + instance("", "192.0.2.1")},
			"k:1: include sub/*.conf: no such file; create it or remove the line"},
		{"include with quotes", []string{"k", "include \"sub\"\n" + instance("", "192.0.2.1")},
			"k:1: include \"sub\": the quotes belong to the file name, because include takes none; remove them"},
		{"fault in an included file", []string{"k", "\ninclude sub/x\n" + instance("", "192.0.2.1"), "sub/x", "\nfoo\n"},
			"x:2: foo is unknown and ignored; check the spelling, the place and the keepalived version"},
		{"definition before a slash", []string{"k", "$X=192.0.2.1\n" + instance("", "$X/24")},
			"k:8: $X is not replaced, because a letter follows it at once; write ${X}"},
		{"definition that is not there", []string{"k", instance("", "${X}")},
			"k:7: ${X} is not defined, and its braces count as a block; define it above or remove it"},
		{"blank in the braces of a definition", []string{"k", "$X=192.0.2.1\n" + instance("", "${X }")},
			"k:8: keepalived takes the first blank after ${X for the }, which stays in the line and may end a block; write ${X}"},
		{"byte order mark", []string{"k", "\ufeff" + instance("", "192.0.2.1")},
			"k:1: the file starts with a byte order mark, which makes the first word of the first line unknown; save the file without it"},
		{"line too long", []string{"k", "#" + strings.Repeat("x", 1023) + "\n" + instance("", "192.0.2.1")},
			"k:1: the line is longer than 1023 bytes: keepalived reads the rest as a line of its own; shorten it"},
		{"NUL byte", []string{"k", instance("", "192.0.2.1\x00/24")},
			"k:7: the line has a NUL byte, which hides the text after it; remove it"},
		{"FIFO before script_user", []string{"k", "global_defs {\n  vrrp_notify_fifo /run/x\n  script_user root\n}\n" + instance("", "192.0.2.1")},
			"k:2: vrrp_notify_fifo stands before script_user and is used as another user; put script_user first"},
		{"FIFO without script_user and with security", []string{"k", "global_defs {\n  enable_script_security\n  vrrp_notify_fifo_script /bin/x\n}\n" + instance("", "192.0.2.1")},
			"k:3: vrrp_notify_fifo_script has no user: with enable_script_security and without a user keepalived_script it is lost at the next reload; put script_user before it"},
		{"MASTER with preemption", []string{"k", instance("state MASTER\npriority 150", "192.0.2.1")},
			"k:1: vrrp_instance A: state MASTER makes the host take the addresses back whenever it starts, which costs an outage where the provider is slow; write state BACKUP and nopreempt on all hosts"},
		{"no unicast peer", []string{"k", "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n"},
			"k:1: vrrp_instance A: it has no unicast_peer, and most clouds carry no multicast, without which every host becomes MASTER; add unicast_src_ip and unicast_peer"},
		{"unicast word without a peer", []string{"k", strings.ReplaceAll(instance("", "192.0.2.1"), "unicast_peer { 192.0.2.2 }", "unicast_src_ip 192.0.2.2")},
			"k:1: vrrp_instance A: a unicast word is given but no valid unicast_peer, so that it uses multicast; add the peers"},
		{"interval of less than a second in version 2", []string{"k", instance("advert_int 0.3", "192.0.2.1")},
			"k:1: vrrp_instance A: advert_int 300ms becomes 1s in VRRP version 2; write that, or version 3 on all hosts for less than a second"},
		{"open quote", []string{"k", instance("", "192.0.2.1 dev \"eth1")},
			"k:7: a double quote is not closed: the words after it are lost; close it"},
		{"words before the brace", []string{"k", strings.ReplaceAll(instance("", "192.0.2.1"), "virtual_ipaddress {", "virtual_ipaddress 192.0.2.7 {")},
			"k:6: the words between virtual_ipaddress and its { are ignored; put them inside the braces"},
		{"brace too many", []string{"k", instance("", "192.0.2.1") + "}\n"},
			"k:10: this } closes nothing; remove it, or look for a { that is missing above"},
		{"brace missing at the end", []string{"k", strings.TrimSuffix(instance("", "192.0.2.1"), "}\n")},
			"k:8: the end of the file lacks 1 closing }; add them"},
		{"name missing", []string{"k", "vrrp_instance {\n}\n" + instance("", "192.0.2.1")},
			"k:1: vrrp_instance needs one name and has 0, so the whole block is skipped; put a name with spaces in double quotes"},
		{"group with an unknown member", []string{"k", "vrrp_sync_group G {\ngroup {\nA\nB\n}\n}\n" + instance("", "192.0.2.1")},
			"k:1: vrrp_sync_group G: there is no vrrp_instance B; correct the name or remove it"},
		{"too many addresses", []string{"k", instance("", addresses(256))},
			"k:1: vrrp_instance A: it has 256 virtual_ipaddress, of which 255 fit one packet; the others are treated as virtual_ipaddress_excluded: put them there on all hosts"},
		{"random number", []string{"k", instance("", "192.0.2.${_RANDOM 3 9}")},
			"k:7: ${_RANDOM} is another number each time keepalived reads the file; read here as the smallest one"},
		{"loop with the step in the wrong place", []string{"k", instance("", "~SEQ(i, 9, 2, 1) 192.0.2.$i")},
			"k:7: ~SEQ is ignored: the step, which is the second of three numbers, does not lead to the end"},
		{"condition out of a definition", []string{"k", "$C=@x 192.0.2.1\n" + instance("", "$C")},
			"k:8: keepalived garbles this line, because its @id comes out of a definition; write the @id itself"},

		{"router id missing", []string{"k", "vrrp_instance A {\ninterface eth0\n}\n"},
			"k:1: refused: vrrp_instance A: it has no valid virtual_router_id; give it one from 1 to 255"},
		{"interface missing", []string{"k", "vrrp_instance A {\nvirtual_router_id 1\n}\n"},
			"k:1: refused: vrrp_instance A: it has no interface that can be used; name one"},
		{"same router id", []string{"k", instance("", "192.0.2.1") + strings.ReplaceAll(strings.ReplaceAll(instance("", "192.0.2.1"), "A {", "B {"), "unicast_peer { 192.0.2.2 }", "") + strings.ReplaceAll(strings.ReplaceAll(instance("", "192.0.2.1"), "A {", "C {"), "unicast_peer { 192.0.2.2 }", "")},
			"k:19: refused: vrrp_instance C: it has the same virtual_router_id 1 as B on interface eth0; give it another"},
		{"value missing", []string{"k", instance("priority", "192.0.2.1")},
			"k:5: refused: priority lacks its value, at which keepalived exits; add it"},
		{"no address in version 3", []string{"k", instance("version 3", "")},
			"k:1: refused: vrrp_instance A: it has no virtual_ipaddress, which VRRP version 3, IPv6 and strict mode demand; add one"},
		{"strict include", []string{"k", "includem nope\n" + instance("", "192.0.2.1")},
			"k:1: refused: include nope: no such file; create it or remove the line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.files...)
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Version: "2.2.7", ConfigID: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if got := messages(c); !strings.Contains("\n"+got, "\n"+tt.want+"\n") {
				t.Errorf("want the message\n%s\ngot:\n%s", tt.want, got)
			}
		})
	}
}

// addresses returns that many address lines.
func addresses(count int) string {
	var b strings.Builder
	for n := range count {
		fmt.Fprintf(&b, "10.0.%d.%d\n", n/256, n%256)
	}
	return b.String()
}

func TestAGoodFileHasNoMessages(t *testing.T) {
	path := write(t, "k", `
global_defs {
    script_user root
    vrrp_notify_fifo /run/berth/keepalived.fifo
}
include sub/*.conf
vrrp_sync_group G {
    group { A "B 1" }
}
vrrp_instance A {
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id 1
    priority 100
    advert_int 1
    unicast_src_ip 192.0.2.1
    unicast_peer {
        192.0.2.2
    }
    virtual_ipaddress {
        198.51.100.1/32 dev eth0
    }
    virtual_ipaddress_excluded {
        2001:db8::1/128
    }
}
`, "sub/b.conf", `vrrp_instance "B 1" {
    interface eth1
    virtual_router_id 1
    unicast_src_ip 2001:db8::1
    unicast_peer { 2001:db8::2 }
    virtual_ipaddress { 2001:db8::3/128 }
}
`)
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Version: "2.2.7"})
	if err != nil {
		t.Fatal(err)
	}
	if got := messages(c); got != "" {
		t.Errorf("want no message, got:\n%s", got)
	}
}

func TestInterfacesOfTheMachine(t *testing.T) {
	const text = "vrrp_instance A {\ninterface eth9\nvirtual_router_id 1\nunicast_peer {\n192.0.2.2\n}\nvirtual_ipaddress {\n192.0.2.1\n192.0.2.3\n192.0.2.4 dev eth8\n}\n}\n"
	tests := []struct {
		name, before string
		interfaces   func(string) (int, bool)
		want         string
		refused      bool
		addresses    int
	}{
		{
			name: "every interface exists", want: "", addresses: 3,
		},
		{
			name:       "missing interface",
			interfaces: func(name string) (int, bool) { return 1500, name == "eth9" },
			want:       "k:10: refused: interface eth8 does not exist on this machine; create it, correct the name, or set dynamic_interfaces in global_defs",
			refused:    true,
			addresses:  2,
		},
		{
			name:       "missing interface that may appear later",
			before:     "global_defs {\ndynamic_interfaces\n}\n",
			interfaces: func(name string) (int, bool) { return 1500, name == "eth9" },
			want:       "k:13: interface eth8 does not exist on this machine; keepalived will use it when it appears",
			addresses:  3,
		},
		{
			name:       "packet that holds two addresses",
			interfaces: func(string) (int, bool) { return 14 + 20 + 8 + 8 + 8, true },
			want:       "k:1: vrrp_instance A: it has 3 virtual_ipaddress, of which 2 fit one packet; the others are treated as virtual_ipaddress_excluded: put them there on all hosts",
			addresses:  2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "k", tt.before+text)
			c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Version: "2.2.7", Interfaces: tt.interfaces})
			if err != nil {
				t.Fatal(err)
			}
			if got := messages(c); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("want the message %q, got:\n%s", tt.want, got)
			}
			i, ok := c.Instance("A")
			if !ok || len(i.Addresses) != tt.addresses || c.Refused != tt.refused {
				t.Errorf("want %d addresses and Refused %v, got:\n%s", tt.addresses, tt.refused, describe(c))
			}
		})
	}
}

func TestAMissingInterfaceIsStillNamed(t *testing.T) {
	path := write(t, "k", "vrrp_instance A {\ninterface eth9\nvirtual_router_id 1\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n")
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{Interfaces: func(string) (int, bool) { return 0, false }})
	if err != nil {
		t.Fatal(err)
	}
	i, ok := c.Instance("A")
	if !ok || i.Interface != "eth9" || !c.Refused {
		t.Errorf("want instance A on eth9 in a refused file, got:\n%s", describe(c))
	}
}

func TestManagedHasEachAddressOnce(t *testing.T) {
	path := write(t, "k", "vrrp_instance A {\nvirtual_ipaddress {\n192.0.2.1/24\n192.0.2.2\n192.0.2.1\n}\nvirtual_ipaddress_excluded {\n192.0.2.2/24\n2001:db8::1\n192.0.2.3 dev eth1\n}\n}\n")
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i, ok := c.Instance("A")
	if !ok {
		t.Fatal("want instance A of a refused file, got none")
	}
	want := "192.0.2.1/24  192.0.2.2/32  2001:db8::1/128  192.0.2.3/32 eth1 "
	got := ""
	for _, ip := range i.Managed() {
		got += ip.String() + " " + ip.Device + " "
	}
	if got != want {
		t.Errorf("Managed: want %q, got %q", want, got)
	}
}

func TestFilesAndDirsForChangeDetection(t *testing.T) {
	path := write(t, "k", "include a*\ninclude missing/x\ninclude sub/b\n", "a1", "", "sub/b", "include c\n", "sub/c", "")
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	relative := func(paths []string) string {
		out := ""
		for _, p := range paths {
			r, err := filepath.Rel(filepath.Dir(path), p)
			if err != nil {
				t.Fatal(err)
			}
			out += r + " "
		}
		return out
	}
	if want, got := "k a1 sub/b sub/c ", relative(c.Files); got != want {
		t.Errorf("Files: want %q, got %q", want, got)
	}
	if want, got := ". missing ", relative(c.Dirs); got != want {
		t.Errorf("Dirs: want %q, got %q", want, got)
	}
}

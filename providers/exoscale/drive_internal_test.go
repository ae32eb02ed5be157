package exoscale

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"berth/internal/cloudsim"
	"berth/providers"
)

// file is one of the root directory of an image.
type file struct {
	name, rockRidge, text string
}

// image makes a CD-ROM file system as ECMA-119 describes it: descriptor in sector
// 16, root directory in sector 18, a file in each sector after that.
func image(files ...file) []byte {
	b := make([]byte, sector*(19+len(files)))
	record := func(name, rockRidge string, block, size int) []byte {
		r := make([]byte, 33, 255)
		binary.LittleEndian.PutUint32(r[2:], uint32(block))
		binary.LittleEndian.PutUint32(r[10:], uint32(size))
		r[32] = byte(len(name))
		r = append(r, name...)
		if len(r)%2 == 1 {
			r = append(r, 0)
		}
		if rockRidge != "" {
			r = append(r, 'P', 'X', 5, 1, 0) // some other entry first
			r = append(r, 'N', 'M', byte(5+len(rockRidge)), 1, 0)
			r = append(r, rockRidge...)
		}
		r[0] = byte(len(r))
		return r
	}
	d := b[descriptorAt:]
	d[0] = 1
	copy(d[1:], "CD001")
	binary.LittleEndian.PutUint16(d[blockSizeAt:], sector)
	copy(d[rootRecordAt:], record("\x00", "", 18, sector))
	root := append(record("\x00", "", 18, sector), record("\x01", "", 18, sector)...)
	for i, f := range files {
		root = append(root, record(f.name, f.rockRidge, 19+i, len(f.text))...)
		copy(b[sector*(19+i):], f.text)
	}
	copy(b[sector*18:], root)
	return b
}

const metaData = "instance-id: 11111111-1111-4111-8111-111111111111\navailability-zone: \"ch-gva-2\"\nlocal-hostname: lb1\n"

func TestDriveHasWhatTheServiceHas(t *testing.T) {
	user := file{"USER_DAT.;1", "user-data", "instance-id: 22222222-2222-4222-8222-222222222222"}
	tests := []struct {
		name  string
		image []byte
		what  string
		want  string // "" for an error
	}{
		{"name behind the record", image(user, file{"META_DAT.;1", "meta-data", metaData}), "instance-id", "11111111-1111-4111-8111-111111111111"},
		{"name in the record", image(user, file{"META-DATA", "", metaData}), "availability-zone", "ch-gva-2"},
		{"name in the record with a version", image(file{"META-DATA.;1", "", metaData}), "availability-zone", "ch-gva-2"},
		{"no such file", image(user), "instance-id", ""},
		{"no such line", image(file{"META-DATA", "", "local-hostname: lb1"}), "instance-id", ""},
		{"another cloud's", image(file{"META-DATA", "", "instance-id: iid-local01"}), "instance-id", ""},
		{"another file system", make([]byte, 64<<10), "instance-id", ""},
		{"cut short", image(file{"META-DATA", "", metaData})[:sector*18+100], "instance-id", ""},
		{"empty", nil, "instance-id", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readDrive(bytes.NewReader(tt.image), tt.what)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("want %q, got %q, %v", tt.want, got, err)
			}
		})
	}
}

func FuzzDrive(f *testing.F) {
	f.Add(image(file{"META_DAT.;1", "meta-data", metaData}))
	f.Add(image(file{"META-DATA", "", metaData}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := readDrive(bytes.NewReader(b), "instance-id"); err == nil && !providers.IsUUID(id) {
			t.Errorf("want a UUID or an error, got %q", id)
		}
	})
}

func TestInstanceWithoutMetadataServiceUsesItsDrive(t *testing.T) {
	const lb1 = "11111111-1111-4111-8111-111111111111"
	sim, err := cloudsim.New(cloudsim.Config{Seed: 1,
		Servers: []cloudsim.Server{{UUID: lb1, Name: "lb1", Region: "ch-gva-2"}},
		Faults:  cloudsim.Faults{{Kind: cloudsim.Drop, Path: "/latest/"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Entry.New(providers.Deps{
		Hostname:  func() (string, error) { return "lb1", nil },
		Secret:    func(string, string, string, string) (string, error) { return "secret", nil },
		Transport: sim.RoundTripper(),
	}, &yaml.Node{})
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*Client)
	c.drive = filepath.Join(t.TempDir(), "cidata")
	if _, err := c.Self(t.Context()); err == nil || !strings.Contains(err.Error(), "read metadata") {
		t.Errorf("without a drive: want the service's error, got %v", err)
	}
	if err := os.WriteFile(c.drive, image(file{"META-DATA", "", metaData}), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Self(t.Context()); err != nil || got.Name != "lb1" {
		t.Errorf("want lb1, got %+v, %v", got, err)
	}
}

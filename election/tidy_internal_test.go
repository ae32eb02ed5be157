package election

import (
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

func TestTheFirstMemberOfThePoolDeletesRecordsOfAddressesThatAreGone(t *testing.T) {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b"}
	m.Init()
	key := func(name, value string, lease int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte("/berth/pool/" + name), Value: []byte(value), Lease: lease, CreateRevision: 2, ModRevision: 2}
	}
	o := m.observer
	o.load(o.spans[0], []*mvccpb.KeyValue{
		key("ips/192.0.2.1/24", "", 0), key("released/192.0.2.1", `{"token":1}`, 0),
		key("released/192.0.2.2", `{"token":1}`, 0), key("held/192.0.2.2", `{"member":"b"}`, 7),
		key("released/192.0.2.3", `{"token":1}`, 0), key("withdrawn/2001:db8::1", `{"token":1}`, 0),
		key("nodes/b", `{"member":"b"}`, 7), key("nodes/c", `{"member":"c"}`, 8)}, 3, 0)
	got := o.unusedRecords("b")
	slices.SortFunc(got, func(a, b ref) int { return len(a.name) - len(b.name) })
	if want := []ref{{true, "192.0.2.3"}, {true, "2001:db8::1"}}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	if got := o.unusedRecords("c"); len(got) != 0 {
		t.Errorf("want nothing for a member that is not the first, got %v", got)
	}
}

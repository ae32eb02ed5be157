package pool

import (
	"slices"

	"berth/vrrp"
)

// book has the list of addresses that counts: that of etcd, or the last one if etcd has
// lost it. An etcd that was wiped or restored has no list, or an old one; nobody has
// retracted the addresses then, and clients still use them.
type book struct {
	keys   []string // below ips/, as followed last
	list   []vrrp.FloatingIP
	strays []stray
	era    int    // of etcd's history, to which keys belong
	stands bool   // the list is the last one, and etcd has none
	digest string // of list, "" until it is asked for
}

// sum returns the digest of the list.
func (b *book) sum() string {
	if b.digest == "" {
		b.digest = digest(b.list)
	}
	return b.digest
}

// follow takes the keys below ips/ in an era of etcd's history. A list that is gone
// although the history goes on was retracted by a person.
func (b *book) follow(keys []string, era int) {
	if len(keys) == 0 && len(b.list) > 0 && (b.stands || era != b.era) {
		b.era, b.stands = era, true
		return
	}
	if b.keys != nil && !b.stands && slices.Equal(keys, b.keys) {
		b.era = era
		return
	}
	b.keys, b.era, b.stands = slices.Clip(append([]string{}, keys...)), era, false
	b.list, b.strays = parseList(keys)
	b.digest = ""
}

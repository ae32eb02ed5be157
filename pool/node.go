package pool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"berth/vrrp"
)

// maxWeight is the highest weight that counts. A person may have written a higher one
// into the key.
const maxWeight = 1000

// node is the value of the key of a member below nodes/.
type node struct {
	Member string    `json:"member"` // for people: the key says it too
	Weight int       `json:"weight"`
	Since  time.Time `json:"since"` // for people
	// List is the digest of the list that the member follows. When etcd has lost the list,
	// the members that stand by the same one share its addresses.
	List string `json:"list"`
	// Refuses are the addresses of the list that the member cannot serve, in order.
	Refuses []netip.Addr `json:"refuses,omitempty"`
}

var errNode = errors.New("it has no weight from 1 to 1000")

func parseNode(value []byte) (node, error) {
	var n node
	if err := json.Unmarshal(value, &n); err != nil {
		return node{}, err
	}
	if n.Weight < 1 || n.Weight > maxWeight {
		return node{}, errNode
	}
	return n, nil
}

func (n node) encode() []byte {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // texts, a number and a time always have a form
	}
	return text
}

// share returns the member as Assign takes it.
func (n node) share(member string) Share {
	s := Share{Member: member, Weight: n.Weight}
	for _, a := range n.Refuses {
		if s.Refuses == nil {
			s.Refuses = map[netip.Addr]bool{}
		}
		s.Refuses[a] = true
	}
	return s
}

// digest returns a text that is the same for equal lists alone.
func digest(list []vrrp.FloatingIP) string {
	h := sha256.New()
	for _, ip := range list {
		h.Write([]byte(ip.String() + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

package heartbeat

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/record"
	"berth/vrrp"
)

// Options are what a node needs to know.
type Options struct {
	Listen    string        // host:port of the socket, :port for all addresses of this host
	Interval  time.Duration // between heartbeats
	DeadRatio int           // a peer that was silent for so many intervals is dead
	Priority  int           // 0 to 255; the lowest wins
	Addresses []netip.Addr  // the floating IPs
	Key       []byte        // signs datagrams; nil for none
	Rollover  bool          // with a key: datagrams are sent and accepted without it, too
	Counters  string        // file of the counters of signed datagrams, "" for none
	// Able tells whether this host may be the owner of anything; nil for always. While it
	// does not hold this host tells its peers the priority 255.
	Able    condition.Condition
	Journal *journal.Journal // nil for none
	Metrics *Metrics         // nil for none
	Network Network          // nil for UDP of the kernel
}

// Peer is another host of the group.
type Peer struct {
	Addr netip.AddrPort // to which this host sends; datagrams count from any port of the address
	Name string         // for people; "" for the address
}

// Node takes part in the election of the owner of each floating IP. Its methods may be
// called by several goroutines at once.
type Node struct {
	options   Options
	addresses []netip.Addr // unmapped, sorted, each once
	dead      time.Duration
	record    *record.File
	conn      Conn // set by Open

	begun   chan struct{} // closed when emit is known
	changed chan struct{} // one slot: a decision may change
	due     chan struct{} // one slot: heartbeats are to be sent at once
	news    chan struct{} // one slot: there is something to tell
	counted chan struct{} // one slot: the counters have changed
	unknown chan struct{} // one slot, see Unknown

	counts       [reasons]atomic.Uint64 // datagrams that arrived
	sent, failed atomic.Uint64

	reading sync.Mutex        // held from the receipt of a datagram until it is taken
	buffer  [maxSize + 1]byte // belongs to reading

	deciding sync.Mutex // held from a decision until its events are emitted
	emit     func([]vrrp.Event)

	random func() float64 // in [0, 1), for the jitter; called by the sender alone

	watching sync.Mutex // guards watchers
	watchers map[*func()]struct{}

	mu       sync.Mutex // guards all below; nothing waits while it is held
	table    table
	pulse    pulse
	hold     hold
	ids      []ID // of this host, the newest last
	priority int
	told     map[netip.Addr]vrrp.State // that were emitted
	why      map[netip.Addr]string     // the reasons of these
	back     map[netip.Addr]int        // see stepBack
	toldPrio map[netip.Addr]int        // that were emitted, and before the first event the priority
	resigned bool
	still    time.Duration // for which this process did not run, not told yet
	samples  [reasons]sample
	receiver error // why the socket cannot be read, nil if it can
	counters *counters
}

// New returns a node, which takes part while Run runs. It starts nothing.
func New(o Options) *Node {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	if o.Network == nil {
		o.Network = kernel{}
	}
	n := &Node{
		options: o, dead: o.Interval * time.Duration(o.DeadRatio), priority: o.Priority, toldPrio: map[netip.Addr]int{},
		ids: []ID{randomID()}, told: map[netip.Addr]vrrp.State{}, why: map[netip.Addr]string{}, back: map[netip.Addr]int{}, watchers: map[*func()]struct{}{},
		begun: make(chan struct{}), changed: make(chan struct{}, 1), due: make(chan struct{}, 1), news: make(chan struct{}, 1),
		counted: make(chan struct{}, 1), unknown: make(chan struct{}, 1),
		record: newRecord(o.Counters, o.Journal), random: rand.Float64,
	}
	for _, a := range o.Addresses {
		n.addresses = append(n.addresses, bareAddr(a))
	}
	slices.SortFunc(n.addresses, netip.Addr.Compare)
	n.addresses = slices.Compact(n.addresses)
	for _, a := range n.addresses {
		n.toldPrio[a] = o.Priority
	}
	return n
}

// Name is that of a service.Source.
func (n *Node) Name() string { return "heartbeat" }

// Open opens the socket and reads the counters; the error names the address. After Open
// the caller calls Close in the end, after Run and Resign have returned.
func (n *Node) Open() error {
	conn, err := n.options.Network.Listen(n.options.Listen)
	if err != nil {
		return err
	}
	n.conn = conn
	n.load()
	return nil
}

// Close closes the socket.
func (n *Node) Close() error { return n.conn.Close() }

// SetPeers sets the peers. It may be called at any time; the state of those that stay is
// kept. Two peers with the same address are one.
func (n *Node) SetPeers(peers []Peer) {
	n.mu.Lock()
	n.table.set(peers)
	n.mu.Unlock()
	signal(n.due)
	signal(n.changed)
	signal(n.news)
	n.tellWatchers()
}

// SetID sets the id that stands in the datagrams of this host, when the provider has told
// its server. Before, it is a random one.
func (n *Node) SetID(id ID) {
	n.mu.Lock()
	if n.ids[len(n.ids)-1] == id {
		n.mu.Unlock()
		return
	}
	// Datagrams with the former one may still be on their way back to this host.
	n.ids = []ID{n.ids[len(n.ids)-1], id}
	n.mu.Unlock()
	signal(n.due)
	signal(n.changed)
}

// id returns the id of this host. It is called with mu held.
func (n *Node) id() ID { return n.ids[len(n.ids)-1] }

// Prioritize adds a number to the priority, and returns the new priority, which the peers
// are told at once. Like exoip it does not go below 1, nor above 255; 0 is reached by the
// configuration alone.
func (n *Node) Prioritize(by int) int {
	n.mu.Lock()
	if by > 0 || n.priority > 0 {
		n.priority = min(max(n.priority+by, 1), worst)
	}
	p := n.priority
	n.mu.Unlock()
	signal(n.due)
	signal(n.changed)
	signal(n.news)
	return p
}

// Alive reports whether a peer lives that was heard about the address.
func (n *Node) Alive(address netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, p := range n.table.peers {
		if h := p.about[bareAddr(address)]; !p.self && h != nil && h.lives(now, n.dead) {
			return true
		}
	}
	return false
}

// PeerState is what is known of a peer as one floating IP is concerned.
type PeerState struct {
	Peer
	Address  netip.Addr // the floating IP
	Self     bool       // the peer is this host, and is left out
	Heard    time.Time  // when the newest datagram came, zero if none has
	Alive    bool       // it was heard in time
	ID       ID         // of the newest datagram
	Priority int        // of the newest datagram
}

// Peers returns a state for each peer and each address, ordered by both.
func (n *Node) Peers() []PeerState {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	var list []PeerState
	for _, p := range n.table.peers {
		for _, a := range n.addresses {
			s := PeerState{Peer: p.Peer, Address: a, Self: p.self}
			if h := p.about[a]; h != nil {
				s.Heard, s.Alive, s.ID, s.Priority = h.heard, h.lives(now, n.dead) && !p.self, h.id, h.priority
			}
			list = append(list, s)
		}
	}
	return list
}

// Watch has changed called after each change of what Peers returns but for the times,
// until stop is called; a call that has begun may outlast stop. changed must not block,
// nor call the node.
func (n *Node) Watch(changed func()) (stop func()) {
	n.watching.Lock()
	defer n.watching.Unlock()
	n.watchers[&changed] = struct{}{}
	return func() {
		n.watching.Lock()
		defer n.watching.Unlock()
		delete(n.watchers, &changed)
	}
}

func (n *Node) tellWatchers() {
	n.watching.Lock()
	defer n.watching.Unlock()
	for changed := range n.watchers {
		(*changed)()
	}
}

// Unknown returns a channel of one slot that receives when a well-formed datagram about
// one of the addresses, with a key a rightly signed one, has come from an address that is
// not a peer: the group may have grown.
func (n *Node) Unknown() <-chan struct{} { return n.unknown }

// signal puts a value into a channel of one slot.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there
	}
}

// bareAddr returns an address in the form in which addresses are compared.
func bareAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// facts returns what a decision about an address follows from. It is called with mu held.
func (n *Node) facts(address netip.Addr, unable string) facts {
	return facts{
		now: time.Now(), dead: n.dead, hold: n.hold, unable: unable, priority: n.advertised(address, unable != ""),
		id: n.id(), peers: n.table.neighbours(address),
	}
}

// advertised returns the priority that this host tells its peers for an address. It is
// called with mu held.
func (n *Node) advertised(address netip.Addr, unable bool) int {
	if unable || n.resigned {
		return worst
	}
	return min(n.priority+n.back[address], worst)
}

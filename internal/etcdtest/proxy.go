package etcdtest

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// A proxy carries TCP connections to a member, or fails to.
type proxy struct {
	address string
	dial    func() (net.Conn, error)

	mu       sync.Mutex
	changed  chan struct{} // closed when one of the next three changes
	hung     bool
	delay    time.Duration
	closed   bool
	listener net.Listener
	conns    map[net.Conn]bool
	running  sync.WaitGroup
}

func newProxy(address string, dial func() (net.Conn, error)) *proxy {
	return &proxy{address: address, dial: dial, changed: make(chan struct{}), conns: make(map[net.Conn]bool)}
}

// open listens, if it does not yet.
func (p *proxy) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return fmt.Errorf("open proxy: %w", err)
	}
	p.listener = listener
	p.running.Go(func() { p.accept(listener) })
	return nil
}

func (p *proxy) set(change func(*proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset, as of a machine that is gone and back
		}
		c.Close()
	}
	clear(p.conns)
}

// close ends the proxy and waits for its goroutines.
func (p *proxy) close() {
	p.set(func(p *proxy) { p.closed = true })
	p.cut()
	p.running.Wait()
}

func (p *proxy) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.join(client) })
	}
}

// join carries one connection until either end closes it.
func (p *proxy) join(client net.Conn) {
	defer p.drop(client)
	member, err := p.dial()
	if err != nil {
		return
	}
	defer p.drop(member)
	p.mu.Lock()
	if p.listener == nil { // cut meanwhile
		p.mu.Unlock()
		return
	}
	p.conns[client], p.conns[member] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.carry(member, client) })
	both.Go(func() { p.carry(client, member) })
	both.Wait()
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

type chunk struct {
	due  time.Time
	data []byte
}

// carry copies one direction; its end is that of the other as well.
func (p *proxy) carry(to, from net.Conn) {
	chunks := make(chan chunk, 1024)
	var writing sync.WaitGroup
	writing.Go(func() {
		ok := true
		for c := range chunks {
			if ok = ok && p.pass(c.due); ok {
				_, err := to.Write(c.data)
				ok = err == nil
			}
		}
	})
	for buffer := make([]byte, 32<<10); ; {
		n, err := from.Read(buffer)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			chunks <- chunk{due, append([]byte(nil), buffer[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(chunks)
	writing.Wait()
	to.Close()
	from.Close()
}

// pass waits until something may be carried that is due at a moment. It is
// false at the end of the proxy.
func (p *proxy) pass(due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	late := timer.C
	for {
		p.mu.Lock()
		changed, hung, closed := p.changed, p.hung, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return false
		case !hung && !time.Now().Before(due):
			return true
		}
		select {
		case <-late:
			late = nil
		case <-changed:
		}
	}
}

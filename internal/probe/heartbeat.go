package probe

import "net"

// Bindable returns an error if no UDP socket can listen at an address and port now.
func Bindable(listen string) error {
	c, err := net.ListenPacket("udp", listen)
	if err != nil {
		return err
	}
	return c.Close()
}

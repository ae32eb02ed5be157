package ips

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// String returns the text that ParseCheck reads.
func (c Check) String() string { return c.Type + ":" + net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// ParseCheck reads a check as LinK's client has it: TCP:HOST:PORT, with an IPv6 address in
// brackets. The error is an *InvalidError.
func ParseCheck(text string) (Check, error) {
	kind, address, _ := strings.Cut(text, ":")
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.Atoi(port)
	if err != nil || bad != nil {
		return Check{}, &InvalidError{fmt.Sprintf("%q is not a health check; write TCP:HOST:PORT, such as TCP:127.0.0.1:80 or TCP:[::1]:80", text)}
	}
	c := Check{Type: strings.ToUpper(kind), Host: host, Port: number}
	return c, c.Valid()
}

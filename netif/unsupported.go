//go:build !linux

package netif

import (
	"errors"
	"net/netip"
)

func promotes(string, netip.Prefix) error { return nil }

func openKernel(string) (kernel, error) { return nil, errors.ErrUnsupported }

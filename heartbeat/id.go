package heartbeat

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ID names the sender of a datagram: the server to which it points a floating IP.
type ID [16]byte

// idLabel stands before a server's id that is no UUID, so that the sum is of no use
// elsewhere.
const idLabel = "berth heartbeat id\x00"

// IDOf returns the id that stands for a server of a provider: the bytes of a UUID
// (RFC 9562), and of any other id the first 16 bytes of the SHA-256 sum of a fixed label
// and that id.
func IDOf(server string) ID {
	var id ID
	if digits := strings.ReplaceAll(server, "-", ""); len(server) == 36 && len(digits) == 32 &&
		server[8] == '-' && server[13] == '-' && server[18] == '-' && server[23] == '-' {
		if _, err := hex.Decode(id[:], []byte(digits)); err == nil {
			return id
		}
	}
	sum := sha256.Sum256([]byte(idLabel + server))
	copy(id[:], sum[:])
	return id
}

// randomID returns an id that stands for no server.
func randomID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// String returns the id in the form of a UUID, which is that of the server where the
// provider names servers by UUIDs.
func (id ID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

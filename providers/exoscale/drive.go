package exoscale

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// drivePath is where an instance without a public address, which has no metadata
// service, finds the same values: a CD-ROM with a file "meta-data" of lines
// "name: value".
const drivePath = "/dev/disk/by-label/cidata"

// The part of ISO 9660 (ECMA-119) that is read: the primary volume descriptor is in
// sector 16 and has the record of the root directory; the name of a file is in its
// record, or, if it is not an upper case name of eight characters, in an entry "NM"
// behind the record (Rock Ridge).
const (
	sector        = 2048
	descriptorAt  = 16 * sector
	rootRecordAt  = 156
	blockSizeAt   = 128
	recordMinimum = 34
	maxDirectory  = 1 << 20 // bytes
	maxDriveFile  = 64 << 10
)

var errNoDrive = errors.New("not a CD-ROM file system")

// driveValue returns a value from the drive.
func driveValue(path, what string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readDrive(f, what)
}

func readDrive(r io.ReaderAt, what string) (string, error) {
	text, err := driveFile(r, "meta-data")
	if err != nil {
		return "", fmt.Errorf("read meta-data: %w", err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == what {
			return parseMetadata(what, strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	return "", fmt.Errorf("meta-data has no %s", what)
}

// driveFile reads a file of the root directory.
func driveFile(r io.ReaderAt, name string) ([]byte, error) {
	descriptor := make([]byte, sector)
	if _, err := r.ReadAt(descriptor, descriptorAt); err != nil {
		return nil, errNoDrive
	}
	block := int64(binary.LittleEndian.Uint16(descriptor[blockSizeAt:]))
	if descriptor[0] != 1 || string(descriptor[1:6]) != "CD001" || block == 0 {
		return nil, errNoDrive
	}
	root, err := extent(r, descriptor[rootRecordAt:rootRecordAt+recordMinimum], block, maxDirectory)
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(root); {
		length := int(root[at])
		if length == 0 { // the rest of the sector is empty
			at += sector - at%sector
			continue
		}
		if length < recordMinimum || at+length > len(root) {
			return nil, errNoDrive
		}
		if record := root[at : at+length]; recordName(record) == name {
			return extent(r, record, block, maxDriveFile)
		}
		at += length
	}
	return nil, os.ErrNotExist
}

// extent reads what a directory record refers to.
func extent(r io.ReaderAt, record []byte, block, max int64) ([]byte, error) {
	at := int64(binary.LittleEndian.Uint32(record[2:])) * block
	size := int64(binary.LittleEndian.Uint32(record[10:]))
	if size > max {
		return nil, fmt.Errorf("larger than %d bytes", max)
	}
	b := make([]byte, size)
	if _, err := r.ReadAt(b, at); err != nil {
		return nil, err
	}
	return b, nil
}

// recordName returns the name in a directory record, in the spelling of Rock Ridge if
// the record has that.
func recordName(record []byte) string {
	n := int(record[32])
	if 33+n > len(record) {
		return ""
	}
	name := string(record[33 : 33+n])
	rest := record[min(33+n+(n+1)%2, len(record)):] // padded to an even place
	for len(rest) >= 5 && int(rest[2]) >= 5 && int(rest[2]) <= len(rest) {
		if string(rest[:2]) == "NM" {
			return string(rest[5:rest[2]])
		}
		rest = rest[rest[2]:]
	}
	name, _, _ = strings.Cut(name, ";") // the version
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

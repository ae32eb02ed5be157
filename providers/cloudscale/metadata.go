package cloudscale

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"berth/providers"
)

const (
	metadataPath = "/openstack/2017-02-22/meta_data.json"

	opMetadata = "read metadata"
)

// askMetadata returns the id of this host from the metadata service.
func (c *Client) askMetadata(ctx context.Context) (string, error) {
	var id string
	err := c.Metadata.Get(ctx, opMetadata, c.MetadataURL+metadataPath, func(body io.Reader) error {
		b, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		id, err = parseMetadata(b)
		return err
	})
	return id, err
}

// parseMetadata takes the API's UUID of the server out of OpenStack's metadata,
// whose own uuid means nothing to the API.
func parseMetadata(b []byte) (string, error) {
	var doc struct {
		Meta struct {
			UUID string `json:"cloudscale_uuid"`
		} `json:"meta"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return "", err
	}
	if !providers.IsUUID(doc.Meta.UUID) {
		return "", errors.New("meta.cloudscale_uuid is no UUID: is this a server of cloudscale? Otherwise set server-uuid")
	}
	return doc.Meta.UUID, nil
}

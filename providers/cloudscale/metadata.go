package cloudscale

import (
	"encoding/json"
	"errors"

	"berth/providers"
)

const metadataPath = "/openstack/2017-02-22/meta_data.json"

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
		return "", errors.New("meta.cloudscale_uuid is not a UUID: is this a server of cloudscale? Otherwise set server-uuid")
	}
	return doc.Meta.UUID, nil
}

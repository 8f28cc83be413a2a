package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// transformers loads a configuration as kube-apiserver does.
func transformers(ctx context.Context, config string) (encryptionconfig.StaticTransformers, error) {
	if err := utilfeature.DefaultMutableFeatureGate.Set(string(features.KMSv1) + "=true"); err != nil {
		return nil, err
	}
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, config, false, "judge")
	if err != nil {
		return nil, err
	}
	return encryptionconfig.StaticTransformers(loaded.Transformers), nil
}

// load prints whether each configuration is accepted. A KMS plugin that is not
// there is no reason to refuse one: it is asked later, not while loading.
func load(configs []string) error {
	for _, config := range configs {
		ctx, cancel := context.WithCancel(context.Background())
		_, err := transformers(ctx, config)
		cancel()
		answer := map[string]any{"file": filepath.Base(config), "accepted": err == nil}
		if err != nil {
			answer["error"] = err.Error()
		}
		if err := print(answer); err != nil {
			return err
		}
	}
	return nil
}

// writer prints the prefix of what is written for each resource; empty where
// values are stored as they are.
func writer(config string, resources []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loaded, err := transformers(ctx, config)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		// The payload is random; what all writes share is the prefix, up to its
		// last colon. Sixteen of them, for two nonces may begin alike, and with
		// a colon.
		transformer := loaded.TransformerForResource(schema.ParseGroupResource(resource))
		var shared []byte
		for i := range 16 {
			sealed, err := transformer.TransformToStorage(ctx, []byte("{}"), value.DefaultContext("/registry/x"))
			if err != nil {
				return err
			}
			if i == 0 {
				shared = sealed
			}
			n := 0
			for n < len(shared) && n < len(sealed) && shared[n] == sealed[n] {
				n++
			}
			shared = shared[:n]
		}
		prefix := ""
		if bytes.HasPrefix(shared, []byte("k8s:enc:")) {
			prefix = string(shared[:bytes.LastIndexByte(shared, ':')+1])
		}
		if err := print(map[string]any{"file": filepath.Base(config), "resource": resource, "prefix": prefix}); err != nil {
			return err
		}
	}
	return nil
}

// request is one line of the standard input of batch.
type request struct {
	Op       string `json:"op"`
	Config   string `json:"config"`
	Resource string `json:"resource"`
	Key      string `json:"key"`
	Value    string `json:"value"`
}

// batch seals and opens values, one a line.
func batch() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	known := map[string]encryptionconfig.StaticTransformers{}
	input := json.NewDecoder(os.Stdin)
	for input.More() {
		var asked request
		if err := input.Decode(&asked); err != nil {
			return err
		}
		loaded, ok := known[asked.Config]
		if !ok {
			var err error
			if loaded, err = transformers(ctx, asked.Config); err != nil {
				return err
			}
			known[asked.Config] = loaded
		}
		data, err := base64.StdEncoding.DecodeString(asked.Value)
		if err != nil {
			return err
		}
		transformer := loaded.TransformerForResource(schema.ParseGroupResource(asked.Resource))
		answer := map[string]any{}
		var result []byte
		switch asked.Op {
		case "seal":
			result, err = transformer.TransformToStorage(ctx, data, value.DefaultContext(asked.Key))
		case "open":
			var stale bool
			result, stale, err = transformer.TransformFromStorage(ctx, data, value.DefaultContext(asked.Key))
			answer["stale"] = stale
		default:
			return fmt.Errorf("no operation %q", asked.Op)
		}
		if err != nil {
			answer["error"] = err.Error()
		} else {
			answer["value"] = base64.StdEncoding.EncodeToString(result)
		}
		if err := print(answer); err != nil {
			return err
		}
	}
	return nil
}

// special are the paths that are not their resource's plural.
var special = []struct{ path, resource string }{
	{"minions/", "nodes"},
	{"services/specs/", "services"},
	{"services/endpoints/", "endpoints"},
	{"controllers/", "replicationcontrollers"},
	{"ingress/", "ingresses.networking.k8s.io"},
	{"apiextensions.k8s.io/customresourcedefinitions/", "customresourcedefinitions.apiextensions.k8s.io"},
	{"apiregistration.k8s.io/apiservices/", "apiservices.apiregistration.k8s.io"},
}

// groups are the API groups of the built-in resources outside the core group.
var groups = map[string]string{
	"daemonsets": "apps", "deployments": "apps", "statefulsets": "apps", "replicasets": "apps",
	"controllerrevisions": "apps", "horizontalpodautoscalers": "autoscaling", "jobs": "batch", "cronjobs": "batch",
	"certificatesigningrequests": "certificates.k8s.io", "clustertrustbundles": "certificates.k8s.io",
	"leases": "coordination.k8s.io", "endpointslices": "discovery.k8s.io", "ingressclasses": "networking.k8s.io",
	"networkpolicies": "networking.k8s.io", "ipaddresses": "networking.k8s.io", "servicecidrs": "networking.k8s.io",
	"poddisruptionbudgets": "policy", "flowschemas": "flowcontrol.apiserver.k8s.io",
	"prioritylevelconfigurations": "flowcontrol.apiserver.k8s.io", "volumeattachments": "storage.k8s.io",
	"storageclasses": "storage.k8s.io", "csidrivers": "storage.k8s.io", "csinodes": "storage.k8s.io",
	"roles": "rbac.authorization.k8s.io", "clusterroles": "rbac.authorization.k8s.io",
	"rolebindings": "rbac.authorization.k8s.io", "clusterrolebindings": "rbac.authorization.k8s.io",
	"validatingwebhookconfigurations": "admissionregistration.k8s.io",
	"mutatingwebhookconfigurations":   "admissionregistration.k8s.io",
	"validatingadmissionpolicies":     "admissionregistration.k8s.io",
	"priorityclasses":                 "scheduling.k8s.io", "runtimeclasses": "node.k8s.io",
	"storageversions": "internal.apiserver.k8s.io",
}

// resourceOf tells which resource an etcd key belongs to; none of keys that no
// transformer ever sees.
func resourceOf(key, prefix string) (schema.GroupResource, bool) {
	path, ok := strings.CutPrefix(key, "/"+strings.Trim(prefix, "/")+"/")
	if !ok {
		return schema.GroupResource{}, false
	}
	for _, row := range special {
		if strings.HasPrefix(path, row.path) {
			return schema.ParseGroupResource(row.resource), true
		}
	}
	first, rest, ok := strings.Cut(path, "/")
	switch first {
	case "ranges", "masterleases", "peerserverleases":
		return schema.GroupResource{}, false
	}
	if strings.Contains(first, ".") {
		plural, _, _ := strings.Cut(rest, "/")
		return schema.GroupResource{Group: first, Resource: plural}, true
	}
	return schema.GroupResource{Group: groups[first], Resource: first}, ok
}

// Command kube-apiserver is Kubernetes' own API server, built as an ordinary
// dependency, for the tests to start on a restored etcd.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}

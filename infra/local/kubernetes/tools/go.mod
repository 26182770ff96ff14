module ratchet/cluster/tools

go 1.26

tool (
	github.com/coredns/coredns
	sigs.k8s.io/kustomize/kustomize/v5
)

require (
	github.com/coredns/coredns v1.15.0
	sigs.k8s.io/kustomize/kustomize/v5 v5.8.1
)

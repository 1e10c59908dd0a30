#!/usr/bin/env bash
# govmomi's vCenter simulator, which many test against, differs from a vCenter where it is easily not noticed: the file of a
# VM's disk is there under the right name, but empty and without a UUID, whatever capacity the disk says; and
# RetrievePropertiesEx gives everything at once, whatever maxObjects asks, so that a client's paging is never tried.
# Debian 12's golang-github-vmware-govmomi-dev 0.24.2-3, built with its Go 1.19.
set -euo pipefail
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
apt-get download -qq golang-github-vmware-govmomi-dev=0.24.2-3 golang-github-google-uuid-dev 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
[[ $(go version) == *go1.19.* ]] || { echo "needs Debian's golang-1.19"; exit 1; }
mkdir -p program
cat >program/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx := context.Background()
	model := simulator.VPX()
	model.Machine = 3
	must(model.Create())
	defer model.Remove()
	server := model.Service.NewServer()
	defer server.Close()
	client, err := govmomi.NewClient(ctx, server.URL, true)
	must(err)
	all, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	must(err)
	var vms []mo.VirtualMachine
	must(all.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "config.hardware.device"}, &vms))
	for _, device := range vms[0].Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		backing := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		var store mo.Datastore
		must(object.NewDatastore(client.Client, *backing.Datastore).Properties(ctx, *backing.Datastore, []string{"info", "name"}, &store))
		var path object.DatastorePath
		path.FromString(backing.FileName)
		file, err := os.Stat(store.Info.GetDatastoreInfo().Url + "/" + path.Path)
		must(err)
		fmt.Printf("disk: has a capacity %v, file of %d bytes, UUID %q\n", disk.CapacityInKB > 0, file.Size(), backing.Uuid)
	}
	filter := types.PropertyFilterSpec{
		PropSet:   []types.PropertySpec{{Type: "VirtualMachine", PathSet: []string{"name"}}},
		ObjectSet: []types.ObjectSpec{{Obj: all.Reference(), Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: "ContainerView", Path: "view"}}}},
	}
	reply, err := methods.RetrievePropertiesEx(ctx, client.Client, &types.RetrievePropertiesEx{
		This: client.ServiceContent.PropertyCollector, SpecSet: []types.PropertyFilterSpec{filter}, Options: types.RetrieveOptions{MaxObjects: 2}})
	must(err)
	fmt.Printf("asked for 2 at most of %d: %d objects, token %q\n", len(vms), len(reply.Returnval.Objects), reply.Returnval.Token)
}
GO
told=$(cd program && GOPATH="$work/root/usr/share/gocode" GOCACHE="$work/cache" GO111MODULE=off GOFLAGS= go run main.go)
echo "govmomi $(dpkg-deb -f golang-github-vmware-govmomi-dev_*.deb Version)"
echo "$told"
[ "$told" = 'disk: has a capacity true, file of 0 bytes, UUID ""
asked for 2 at most of 6: 6 objects, token ""' ]

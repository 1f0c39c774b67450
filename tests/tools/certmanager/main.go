// Command certmanager prints the API group of cert-manager. The tests need the definitions of that group, which are files of
// its module: they are there when a program of the module is built.
package main

import (
	"fmt"

	"github.com/cert-manager/cert-manager/pkg/apis/certmanager"
)

func main() {
	fmt.Println(certmanager.GroupName)
}

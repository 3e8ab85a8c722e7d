// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package inroot

import (
	"errors"
	"io/fs"
	"os"
)

func rootOf(*os.File) *Root { return nil }

func (*Root) open(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func (*Root) stat(string, bool) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func (*Root) readLink(string) (string, error) { return "", errors.ErrUnsupported }

func (*Root) openFile(string) (fs.File, error) { return nil, errors.ErrUnsupported }

func (*Root) openRegular(string) (int, error) { return -1, errors.ErrUnsupported }

func (*Root) openFolder(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func (*Root) openDir(string) (*Dir, error) { return nil, errors.ErrUnsupported }

func (*Dir) openRegular(string) (int, error) { return -1, errors.ErrUnsupported }

func (*Dir) close() {}

func closeFD(int) error { return errors.ErrUnsupported }

func readFD(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

func readFDAt(int, []byte, int64) (int, error) { return 0, errors.ErrUnsupported }

func seekFD(int, int64, int) (int64, error) { return 0, errors.ErrUnsupported }

func statFD(int, string) (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

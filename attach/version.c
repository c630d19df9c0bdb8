#include "attach/version.h"

#include "encoder/pprof.h"
#include "symbols/compressed.h"
#include "symbols/libdw.h"
#include "unwind/expression.h"

#include <stdio.h>

void version_text(char text[VERSION_WIDTH])
{
	struct content_versions versions = content_versions();
	snprintf(text, VERSION_WIDTH,
		"cprof-attach %s (x86_64)\n%s, elfutils %s, protobuf-c %s, zlib %s, liblzma %s, libzstd %s\n",
		CPROF_VERSION, expression_library(), libdw_version(), pprof_library(), versions.zlib,
		versions.lzma, versions.zstd);
}

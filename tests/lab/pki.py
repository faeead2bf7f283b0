"""An authority and certificates of one day, made by the openssl command."""
import subprocess


def _openssl(*argv):
    subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)


class Authority:
    def __init__(self, work):
        self.work = work
        self.cert, self._key = work / "ca.pem", work / "ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                 "-subj", "/CN=Lab CA", "-keyout", self._key, "-out", self.cert)

    def leaf(self, name, *hosts):
        """(certificate, key) for the hosts, signed by this authority."""
        cert, key, request = (self.work / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extension = self.work / f"{name}.ext"
        extension.write_text("subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts) + "\n")
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial", "-days", "1",
                 "-extfile", extension, "-out", cert)
        return cert, key
